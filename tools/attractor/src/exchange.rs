//! Takes networks from PyTorch and gives them back, as safetensors; docs/exchange.md says under which names.

use crate::cli::{Export, Import};
use crate::files::{about, other, read, write};
use crate::model::Model;
use crate::{output, tensors};

pub(crate) fn import(arguments: &Import) -> Result<(), String> {
    let Import { from, to, .. } = arguments;
    other(from, to)?;
    let bytes = read(from)?;
    let model = if Model::is_one(&bytes) {
        Err("this is a model file already".to_owned())
    } else {
        tensors::import(&bytes, &arguments.into())
    };
    let bytes = model.and_then(|model| model.to_bytes()).map_err(|error| about(from, error))?;
    write(to, &bytes)
}

pub(crate) fn export(arguments: &Export) -> Result<(), String> {
    let Export { from, to } = arguments;
    other(from, to)?;
    let bytes = read(from)?;
    let model = Model::from_bytes(&bytes).map_err(|error| about(from, error))?;
    write(to, &tensors::export(&model).map_err(|error| about(from, error))?)?;
    if model.certified {
        let from = output::plain(&from.display().to_string());
        eprintln!("attractor: the certificate of {from} is not exported; `certify` finds it again");
    }
    Ok(())
}
