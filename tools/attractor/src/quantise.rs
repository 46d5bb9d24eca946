//! Networks of integers.

use crate::cli::{Quantise, States};
use crate::evaluate::table;
use crate::files::{about, other, writable, write};
use crate::net::{Net, Solve, load};
use attractor::SolveError;
use attractor::dynamic::{DynCalibration, DynError, DynQuantized, DynStates};
use attractor::nalgebra::DMatrixView;

pub(crate) fn quantise(arguments: &Quantise) -> Result<(), String> {
    let Quantise { model, data, to, states, solve } = arguments;
    other(model, to)?;
    other(&data.data, to)?;
    writable(to)?;
    let (net, _) = load(model)?;
    let Net::F32(net, _) = net else {
        return Err(about(model, "is not of f32, and networks of integers are made of that"));
    };
    let table = table(model, data, net.inputs(), None)?;
    let mut calibration = DynCalibration::new(&net);
    let mut room = DynStates::zeros(&net, 1);
    let stop = Solve::from(solve).stop();
    let mut not_converged = 0;
    for row in 0..table.rows() {
        let values: Vec<f32> = table.row(row).iter().map(|value| *value as f32).collect();
        let input = DMatrixView::from_slice(&values, 1, values.len());
        room.reset();
        let outcome = match net.solve(&input, &mut room, stop) {
            Err(DynError::Solve(SolveError::NotConverged { .. })) => {
                not_converged += 1;
                Ok(())
            }
            other => other.map(drop),
        };
        outcome
            .and_then(|()| calibration.observe(&input, &room))
            .map_err(|error| about(&data.data, format!("row {}: {error}", row + 1)))?;
    }
    let failed = |error: DynError| {
        let hint = match (&error, &data.scaling) {
            (DynError::Quantize(_), None) => {
                " (where columns differ in size, `train --scaling-to` and `--scaling` here)"
            }
            _ => "",
        };
        about(model, format!("{error}{hint}"))
    };
    let (bytes, units) = match states {
        States::I8 => {
            let net = DynQuantized::<i8>::new(&net, &calibration).map_err(failed)?;
            (net.to_bytes(), [net.input_unit(), net.output_unit()])
        }
        States::I16 => {
            let net = DynQuantized::<i16>::new(&net, &calibration).map_err(failed)?;
            (net.to_bytes(), [net.input_unit(), net.output_unit()])
        }
    };
    let bytes = bytes.map_err(failed)?;
    write(to, &bytes)?;
    let lines = [
        format!("rows: {}", table.rows()),
        format!("not converged: {:.2} %", 100.0 * f64::from(not_converged) / table.rows() as f64),
        format!("input unit: {:e}", units[0]),
        format!("output unit: {:e}", units[1]),
        format!("bytes: {}", bytes.len()),
    ];
    println!("{}", lines.join("\n"));
    Ok(())
}
