//! Ctrl-C: the first one asks, the second one ends.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// From now on signals ask to stop.
pub(crate) fn listen() -> Result<(), String> {
    let asks = || {
        if ASKED.swap(true, Ordering::Relaxed) {
            process::exit(130);
        }
    };
    ctrlc::set_handler(asks).map_err(|error| format!("signals: {error}"))
}

/// Whether it has been asked to stop.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
