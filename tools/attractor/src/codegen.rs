//! Networks as source text: of Rust and of C.

use crate::cli::Codegen;
use crate::files::{about, name, other, read, write};
use crate::model::{Model, codes};
use crate::net::{Net, load, with_floats};
use attractor::Shape;
use attractor::dynamic::DynNetwork;
use attractor::kernel::Scalar;
use std::fmt::{Debug, Write as _};
use std::path::Path;

pub(crate) fn codegen(arguments: &Codegen) -> Result<(), String> {
    let Codegen { from, rust, c, caller } = arguments;
    let targets = [rust, c, caller];
    for to in targets.into_iter().flatten() {
        other(from, to)?;
    }
    let mut files = Vec::new();
    if let Some(to) = rust {
        files.push((to, in_rust(from)?));
    }
    if let Some(to) = c {
        let stem = identifier(to);
        let (net, _) = load(from)?;
        let header = with_floats!(
            &net, (net, _) => Ok(header(&stem, &name(from), net)),
            else about(from, "is of integers, and the C library solves f32 and f64")
        )?;
        files.push((to, header));
        if let Some(caller) = caller {
            files.push((caller, self::caller(&stem, &name(to), matches!(net, Net::F64(..)))));
        }
    }
    files.into_iter().try_for_each(|(to, text)| write(to, text.as_bytes()))
}

/// The type of a network, with all paths in full.
fn rust_type(shape: &Shape) -> String {
    let widths: Vec<String> = shape.widths().iter().map(u32::to_string).collect();
    let feedback = match shape.feedback() {
        "tied" => format!("Tied<{}>", shape.percent()),
        "feedforward" => "Feedforward".to_owned(),
        "skip" => "Skip".to_owned(),
        "dense" => "Dense".to_owned(),
        _ => "Adjacent".to_owned(),
    };
    let activation = |name| match name {
        "tanh" => "Tanh",
        "sigmoid" => "Sigmoid",
        "relu" => "Relu",
        "hard tanh" => "HardTanh",
        "leaky relu" => "LeakyRelu",
        _ => "Identity",
    };
    // Networks of integers and of 16 bits are made of one of f32.
    let scalar = if shape.scalar() == "f64" { "f64" } else { "f32" };
    format!(
        "::attractor::fnn![\n    {};\n    feedback = ::attractor::{feedback},\n    hidden = ::attractor::kernel::{},\n    output = ::attractor::kernel::{},\n    scalar = {scalar}\n]",
        widths.join(", "),
        activation(shape.hidden()),
        activation(shape.output()),
    )
}

fn in_rust(from: &Path) -> Result<String, String> {
    let bytes = read(from)?;
    let shape = Model::from_bytes(&bytes).map_err(|error| about(from, error))?.shape;
    let (found, of) = match shape.scalar() {
        "bf16" => (
            "&'static ::attractor::quantized::Bf16Network<Net>",
            "::attractor::quantized::Bf16Network::<Net>",
        ),
        "i16" => (
            "::attractor::quantized::QuantizedModel<'static, Net, i16>",
            "::attractor::quantized::Quantized::<Net, i16>",
        ),
        "i8" => (
            "::attractor::quantized::QuantizedModel<'static, Net, i8>",
            "::attractor::quantized::Quantized::<Net, i8>",
        ),
        _ => ("::attractor::file::Model<'static, Net>", "Net"),
    };
    let mut text = format!(
        "// Written by `attractor codegen`, of {}.\n\n/// The type of the network.\npub type Net = {};\n\n",
        name(from),
        rust_type(&shape)
    );
    let _ = write!(
        text,
        "/// The network in its model file, where it lies.\n///\n/// # Errors\n/// None, unless the file was changed.\n#[allow(clippy::result_large_err, reason = \"it names both shapes\")]\npub fn model() -> Result<{found}, ::attractor::file::FileError> {{\n    {of}::from_bytes(&FILE.0)\n}}\n\n"
    );
    let _ =
        write!(text, "static FILE: ::attractor::Align64<[u8; {}]> = ::attractor::Align64(*b\"", bytes.len());
    for line in bytes.chunks(40) {
        text.push_str("\\\n    ");
        for byte in line {
            // Only what cannot be taken for anything else, an end of line or a space that is skipped.
            if byte.is_ascii_alphanumeric() {
                text.push(char::from(*byte));
            } else {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text.push_str("\");\n");
    Ok(text)
}

/// What names in C begin with: the name of the header.
fn identifier(header: &Path) -> String {
    let stem = header.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("net_{name}") }
}

/// What every header declares, once. The library in tools/attractor/c has the same.
const API: &str = "\
#ifndef ATTRACTOR_SOLVE
#define ATTRACTOR_SOLVE

#ifdef __cplusplus
extern \"C\" {
#endif

/* What attractor_solve returns. */
#define ATTRACTOR_SOLVED 0
/* The most sweeps were made, and the last one still changed more than the tolerance. The output is what they came to. */
#define ATTRACTOR_NOT_CONVERGED 1
/* A NaN or an infinity, in input or weights or by overflow. The output is unchanged. */
#define ATTRACTOR_NOT_FINITE 2
/* A null, an address that is not aligned, too little memory, a tolerance that is negative or no number, no sweeps, or a network that the
 * library does not have. Nothing was done. */
#define ATTRACTOR_REFUSED 3

typedef struct {
    const float *weights;   /* layer after layer W, U, b, column after column */
    const uint32_t *widths; /* inputs first: depth + 1 of them */
    uint32_t weight_count;
    uint32_t depth; /* layers above the input */
    uint32_t feedback;
    uint32_t percent;
    uint32_t hidden;
    uint32_t output;
} attractor_network;

typedef struct {
    uint32_t sweeps;
    float residual; /* the largest change of a unit in the last sweep */
} attractor_report;

/* The same of double. */
typedef struct {
    const double *weights;
    const uint32_t *widths;
    uint32_t weight_count;
    uint32_t depth;
    uint32_t feedback;
    uint32_t percent;
    uint32_t hidden;
    uint32_t output;
} attractor_network_f64;

typedef struct {
    uint32_t sweeps;
    double residual;
} attractor_report_f64;

/*
 * Sweeps from zero until no unit changes by more than the tolerance, at most so many times. `input` and `output` have as many numbers as the
 * network has; `memory` is lent for the call, as many numbers as the network has units and inputs (NAME_MEMORY below). `report` may be null.
 * Nothing else is written, nothing is allocated, and calls with other memory may run side by side.
 */
int32_t attractor_solve(const attractor_network *network, const float *input, float *output, float *memory,
                        uint32_t memory_count, float tolerance, uint32_t most_sweeps, attractor_report *report);
int32_t attractor_solve_f64(const attractor_network_f64 *network, const double *input, double *output, double *memory,
                            uint32_t memory_count, double tolerance, uint32_t most_sweeps,
                            attractor_report_f64 *report);

#ifdef __cplusplus
}
#endif
#endif
";

/// The header of a network whose names begin with `stem`.
fn header<T: Scalar + Debug>(stem: &str, from: &str, net: &DynNetwork<T>) -> String {
    let shape = net.shape();
    let upper = stem.to_ascii_uppercase();
    let wide = size_of::<T>() == 8;
    let (scalar, suffix, kind) = if wide { ("double", "", "_f64") } else { ("float", "f", "") };
    let widths: Vec<String> = shape.widths().iter().map(|width| format!("{width}u")).collect();
    let [feedback, hidden, output] = codes(shape);
    let mut text = format!(
        "/* Written by `attractor codegen`, of {from}: {shape}. */\n#ifndef {upper}_NETWORK\n#define {upper}_NETWORK\n\n#include <stdint.h>\n\n{API}\n"
    );
    let _ = write!(
        text,
        "#define {upper}_INPUTS {inputs}u\n#define {upper}_OUTPUTS {outputs}u\n#define {upper}_MEMORY {memory}u\n\nstatic const uint32_t {stem}_widths[{count}] = {{{widths}}};\n\nstatic const {scalar} {stem}_weights[{params}] = {{",
        inputs = net.inputs(),
        outputs = net.outputs(),
        memory = net.inputs() + net.units(),
        count = widths.len(),
        widths = widths.join(", "),
        params = net.params().len(),
    );
    for line in net.params().chunks(8) {
        text.push_str("\n   ");
        for weight in line {
            // The shortest digits that are read back as the same number.
            let _ = write!(text, " {weight:?}{suffix},");
        }
    }
    let _ = write!(
        text,
        "\n}};\n\nstatic const attractor_network{kind} {stem}_net = {{\n    {stem}_weights, {stem}_widths, {params}u, {depth}u, {feedback}u, {percent}u, {hidden}u, {output}u,\n}};\n\n#endif\n",
        params = net.params().len(),
        depth = widths.len() - 1,
        percent = shape.percent(),
    );
    text
}

/// A program that reads inputs from standard input and prints outputs, row after row.
fn caller(stem: &str, header: &str, wide: bool) -> String {
    let upper = stem.to_ascii_uppercase();
    let (scalar, kind, read, cast, digits, tolerance) = if wide {
        ("double", "_f64", "%lf", "", 17, "1e-10")
    } else {
        ("float", "", "%f", "(double)", 9, "1e-5f")
    };
    format!(
        "\
/* Solves the network of {header} for every row of {upper}_INPUTS numbers on standard input. */
#include <stdio.h>

#include \"{header}\"

static {scalar} input[{upper}_INPUTS], output[{upper}_OUTPUTS], memory[{upper}_MEMORY];

int main(void) {{
    for (;;) {{
        for (uint32_t i = 0; i < {upper}_INPUTS; i++) {{
            if (scanf(\"{read}\", &input[i]) != 1) {{
                return i == 0 && feof(stdin) ? 0 : 2;
            }}
        }}
        attractor_report{kind} report;
        int32_t outcome = attractor_solve{kind}(&{stem}_net, input, output, memory, {upper}_MEMORY,
            {tolerance}, 100, &report);
        if (outcome != ATTRACTOR_SOLVED) {{
            fprintf(stderr, \"attractor_solve gives %d\\n\", (int)outcome);
            return 1;
        }}
        for (uint32_t i = 0; i < {upper}_OUTPUTS; i++) {{
            printf(\"%.{digits}g%c\", {cast}output[i], i + 1 == {upper}_OUTPUTS ? '\\n' : ' ');
        }}
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_c_are_names() {
        for (path, name) in
            [("a/net.h", "net"), ("8-bit net.h", "net_8_bit_net"), ("ü.h", "net__"), ("int.hpp", "int")]
        {
            assert_eq!(identifier(Path::new(path)), name);
        }
    }
}
