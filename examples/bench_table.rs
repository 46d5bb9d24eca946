//! Turns the results of `cargo bench` into tables, and compares them with the bars the crate is held to.
//!
//! `cargo bench && cargo run --release --example bench_table`

#[macro_use]
#[path = "shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

#[path = "shared/command_line.rs"]
mod command_line;

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

const HELP: &str = "\
Turns the results of `cargo bench` into Markdown tables.

Usage: cargo run --release --example bench_table -- [OPTIONS]

Options:
  --check    compare with the bars the crate is held to, `met` or `short`
  --native   the results are of a build with RUSTFLAGS=-Ctarget-cpu=native, which has a bar of its own
  --help     print this help

Reads target/criterion, or where CRITERION_HOME or CARGO_TARGET_DIR say.";

const NETS: [(&str, &str); 4] =
    [("S", "16-16-16-8"), ("M", "64-64-64-10"), ("D", "64-128-64-10"), ("L", "784-256-256-10")];

/// Benchmarks whose results belong in the tables: groups of every network, and their ids.
const EACH_NET: [(&str, &[&str]); 5] = [
    ("solve", &["attractor", "attractor-portable", "nalgebra", "nalgebra-fast", "wide", "load-roof"]),
    ("batch16", &["attractor", "matrixmultiply", "fma-peak"]),
    ("batch64", &["attractor", "attractor-rayon", "matrixmultiply", "fma-peak"]),
    ("train1", &["attractor", "fma-peak"]),
    ("train64", &["attractor", "attractor-rayon", "fma-peak"]),
];
const OTHERS: [(&str, &[&str]); 3] = [
    ("activation/tanh", &["attractor", "attractor-portable", "libm", "wide"]),
    ("activation/sigmoid", &["attractor", "attractor-portable", "libm", "wide"]),
    ("dispatch", &["dispatched", "plain call"]),
];

#[derive(Clone, Copy, Default)]
struct Options {
    check: bool,
    native: bool,
}

/// What the command line asks for; `None` is the help.
fn parse(arguments: impl Iterator<Item = std::ffi::OsString>) -> Result<Option<Options>, String> {
    let mut options = Options::default();
    for argument in arguments {
        match argument.to_string_lossy().as_ref() {
            "--check" => options.check = true,
            "--native" => options.native = true,
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("unknown option `{other}`")),
        }
    }
    Ok(Some(options))
}

fn main() -> ExitCode {
    command_line::run("bench_table", HELP, parse, run)
}

fn run(options: Options) -> Result<(), String> {
    let folder = folder();
    let results = Results::read(&folder);
    if results.0.is_empty() {
        return Err(format!("no results in {}: run `cargo bench` first", folder.display()));
    }
    if options.check {
        print_bars(&results, options.native);
    } else {
        print_tables(&results);
    }
    let missing = results.missing();
    if missing.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = missing.iter().map(|group| format!("`cargo bench -- {group}/`")).collect();
    Err(format!("results are missing in {}: run {}", folder.display(), groups.join(", ")))
}

/// Where criterion writes.
fn folder() -> PathBuf {
    if let Some(home) = env::var_os("CRITERION_HOME") {
        return home.into();
    }
    let target = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    target.join("criterion")
}

/// One benchmark's result.
#[derive(Clone, Copy, Debug)]
struct Measured {
    /// Median of an iteration.
    nanoseconds: f64,
    /// What criterion was told an iteration does.
    elements: f64,
}

/// Results by their full name, such as `solve/S/attractor`.
struct Results(BTreeMap<String, Measured>);

impl Results {
    /// All results below a folder; what cannot be read is missing.
    fn read(folder: &Path) -> Self {
        let mut results = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            folders.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
            if folder.ends_with("new")
                && let Some((name, measured)) = read_one(&folder)
            {
                results.insert(name, measured);
            }
        }
        Self(results)
    }

    fn time(&self, group: &str, id: &str) -> Option<f64> {
        Some(self.0.get(&format!("{group}/{id}"))?.nanoseconds)
    }

    /// How much longer `id` takes than the crate.
    fn ratio(&self, group: &str, id: &str) -> Option<f64> {
        Some(self.time(group, id)? / self.time(group, "attractor")?)
    }

    /// Elements, of batches floating-point operations, in a nanosecond.
    fn rate(&self, group: &str) -> Option<f64> {
        let measured = self.0.get(&format!("{group}/attractor"))?;
        Some(measured.elements / measured.nanoseconds)
    }

    /// The groups some of whose results are missing. AVX2 is not on every processor.
    fn missing(&self) -> Vec<&'static str> {
        let is_missing = |group: &str, ids: &[&str]| ids.iter().any(|id| self.time(group, id).is_none());
        let each_net = EACH_NET
            .iter()
            .filter(|(group, ids)| NETS.iter().any(|(net, _)| is_missing(&format!("{group}/{net}"), ids)));
        let others = OTHERS.iter().filter(|(group, ids)| is_missing(group, ids));
        each_net.chain(others).map(|(group, _)| *group).collect()
    }
}

/// The name and result in a folder `new` of criterion.
fn read_one(folder: &Path) -> Option<(String, Measured)> {
    let read = |file: &str| -> Option<Value> {
        serde_json::from_str(&fs::read_to_string(folder.join(file)).ok()?).ok()
    };
    let (benchmark, estimates) = (read("benchmark.json")?, read("estimates.json")?);
    let nanoseconds = estimates["median"]["point_estimate"].as_f64()?;
    let elements = benchmark["throughput"]["Elements"].as_f64().unwrap_or(f64::NAN);
    Some((benchmark["full_id"].as_str()?.to_owned(), Measured { nanoseconds, elements }))
}

/// Three digits, or a dash for what is missing.
fn digits(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) => {
            let decimals = (2 - value.abs().max(0.01).log10().floor() as i32).max(0) as usize;
            format!("{value:.decimals$}")
        }
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", 100.0 * share))
}

fn microseconds(nanoseconds: Option<f64>) -> String {
    digits(nanoseconds.map(|time| time / 1e3))
}

fn heading(title: &str, columns: &[&str]) {
    println!("\n{title}\n\n| {} |\n|{}", columns.join(" | "), "-|".repeat(columns.len()));
}

fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

fn print_tables(results: &Results) {
    heading(
        "One input, 16 sweeps: time in microseconds, and how many times longer the others take",
        &[
            "network",
            "attractor",
            "AVX2",
            "portable",
            "nalgebra",
            "nalgebra, our tanh",
            "`wide`",
            "share of load roof",
        ],
    );
    for (net, widths) in NETS {
        let group = format!("solve/{net}");
        let mut cells = vec![format!("{net} {widths}"), microseconds(results.time(&group, "attractor"))];
        for id in ["attractor-avx2", "attractor-portable", "nalgebra", "nalgebra-fast", "wide"] {
            cells.push(digits(results.ratio(&group, id)));
        }
        cells.push(percent(results.ratio(&group, "load-roof")));
        row(&cells);
    }
    for samples in [16, 64] {
        heading(
            &format!(
                "Batches of {samples}, 16 sweeps: time in microseconds a sample, and how many times longer the others take"
            ),
            &["network", "attractor", "GFLOP/s", "AVX2", "matrixmultiply", "share of FMA peak"],
        );
        for (net, widths) in NETS {
            let group = format!("batch{samples}/{net}");
            let time = results.time(&group, "attractor").map(|time| time / f64::from(samples));
            row(&[
                format!("{net} {widths}"),
                microseconds(time),
                digits(results.rate(&group)),
                digits(results.ratio(&group, "attractor-avx2")),
                digits(results.ratio(&group, "matrixmultiply")),
                percent(results.ratio(&group, "fma-peak")),
            ]);
        }
    }
    heading(
        "A training step, 16 sweeps and 16 adjoint sweeps: time in microseconds a sample",
        &[
            "network",
            "batch of 1",
            "GFLOP/s",
            "share of FMA peak",
            "batch of 64",
            "GFLOP/s",
            "share of FMA peak",
            "faster on all cores",
        ],
    );
    for (net, widths) in NETS {
        let mut cells = vec![format!("{net} {widths}")];
        for samples in [1, 64] {
            let group = format!("train{samples}/{net}");
            let time = results.time(&group, "attractor").map(|time| time / f64::from(samples));
            cells.push(microseconds(time));
            cells.push(digits(results.rate(&group)));
            cells.push(percent(results.ratio(&group, "fma-peak")));
        }
        let shared = results.ratio(&format!("train64/{net}"), "attractor-rayon");
        cells.push(digits(shared.map(|ratio| 1.0 / ratio)));
        row(&cells);
    }
    heading(
        "Activations: nanoseconds a value, with the copy of the argument",
        &["function", "attractor", "portable", "libm", "`wide`"],
    );
    for function in ["tanh", "sigmoid"] {
        let group = format!("activation/{function}");
        let a_value = |id: &str| {
            let measured = results.0.get(&format!("{group}/{id}"))?;
            Some(measured.nanoseconds / measured.elements)
        };
        let mut cells = vec![function.to_owned()];
        cells.extend(["attractor", "attractor-portable", "libm", "wide"].map(|id| digits(a_value(id))));
        row(&cells);
    }
    heading("A call that does nothing: nanoseconds", &["dispatched", "plain"]);
    row(&["dispatched", "plain call"].map(|id| digits(results.time("dispatch", id))));
}

/// A figure and what it is held to.
enum Bar {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
    /// Without a bar.
    Report,
}

fn print_bars(results: &Results, native: bool) {
    use Bar::{AtLeast, AtMost, Below, Report};
    if native {
        each_net(results, "solve", "nalgebra-fast", [1.3, 1.8, 1.5, 1.55].map(AtLeast));
        return;
    }
    each_net(results, "solve", "nalgebra", [6.0, 7.0, 5.0, 4.3].map(AtLeast));
    each_net(results, "solve", "wide", [1.7, 3.6, 2.9, 2.8].map(AtLeast));
    each_net(results, "solve", "load-roof", [Report, AtLeast(0.80), AtLeast(0.93), AtLeast(0.93)]);
    each_net(results, "solve", "attractor-avx2", [1.35; 4].map(AtMost));
    each_net(results, "batch64", "fma-peak", [0.55, 0.75, 0.75, 0.75].map(AtLeast));
    each_net(results, "batch16", "fma-peak", [0.50, 0.65, 0.65, 0.65].map(AtLeast));
    each_net(results, "train64", "fma-peak", [0.35, 0.60, 0.60, 0.60].map(AtLeast));
    for (group, bar) in [("batch64/L", 1.9), ("train64/L", 1.8)] {
        let shared = results.ratio(group, "attractor-rayon").map(|ratio| 1.0 / ratio);
        print_bar(&format!("{group}: one core / all cores"), shared, &AtLeast(bar));
    }
    print_bar("dispatch, ns", results.time("dispatch", "dispatched"), &Below(5.0));
}

/// The ratios of one peer to the crate.
fn each_net(results: &Results, group: &str, id: &str, bars: [Bar; 4]) {
    for ((net, _), bar) in NETS.iter().zip(bars) {
        let group = format!("{group}/{net}");
        print_bar(&format!("{group}: {id} / attractor"), results.ratio(&group, id), &bar);
    }
}

fn print_bar(name: &str, found: Option<f64>, bar: &Bar) {
    let (met, asked): (fn(f64, f64) -> bool, _) = match bar {
        Bar::AtLeast(bar) => (|found, bar| found >= bar, Some(("at least", *bar))),
        Bar::AtMost(bar) => (|found, bar| found <= bar, Some(("at most", *bar))),
        Bar::Below(bar) => (|found, bar| found < bar, Some(("below", *bar))),
        Bar::Report => (|_, _| true, None),
    };
    let verdict = match (found, asked) {
        (None, _) => "missing".to_owned(),
        (Some(_), None) => "no bar".to_owned(),
        (Some(found), Some((words, bar))) => {
            format!("{}, {words} {bar}", if met(found, bar) { "met" } else { "short" })
        }
    };
    println!("{name}: {} ({verdict})", digits(found));
}
