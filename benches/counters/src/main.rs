//! Counts the instructions of `benches/counters.rs` under valgrind and compares them with `baseline.json`, so that a
//! slow-down cannot hide in a noisy clock.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

const HELP: &str = "\
Counts instructions under valgrind and compares them with benches/counters/baseline.json.

Usage: cargo run --manifest-path benches/counters/Cargo.toml -- [OPTIONS]

Options:
  --renew    write the counts into baseline.json in place of comparing
  --help     print this help

Needs valgrind, and `cargo install gungraun-runner --version 0.20.0 --locked` (or its path in GUNGRAUN_RUNNER).
The exit code is 1 if a count is more than 2 % above its baseline, or 10 % where another compiler made that.";

/// How far a count may rise, with the compiler of the baseline and with another, in per cent.
const LIMIT: f64 = 2.0;
const LIMIT_OTHER_COMPILER: f64 = 10.0;

const RENEW: &str = "cargo run --manifest-path benches/counters/Cargo.toml -- --renew";

/// Instructions of every benchmark, by its name.
type Counts = BTreeMap<String, u64>;

fn main() -> ExitCode {
    let mut renew = false;
    for argument in env::args_os().skip(1) {
        match argument.to_string_lossy().as_ref() {
            "--renew" => renew = true,
            "--help" | "-h" => {
                println!("{HELP}");
                return ExitCode::SUCCESS;
            }
            other => {
                eprintln!("counters: unknown option `{other}`\ncounters: `--help` lists the options");
                return ExitCode::from(2);
            }
        }
    }
    match run(renew) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("counters: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the counts are within their limits.
fn run(renew: bool) -> Result<bool, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = folder.join("baseline.json");
    let compiler = compiler()?;
    let counts = count(folder)?;
    if renew {
        let text = format!("{:#}\n", json!({ "compiler": compiler, "counts": counts }));
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        println!("{} counts written to {}", counts.len(), file.display());
        return Ok(true);
    }
    let (baseline_compiler, baseline) =
        read(&file).ok_or_else(|| format!("{} cannot be read; to write it: {RENEW}", file.display()))?;
    let limit = if compiler == baseline_compiler {
        LIMIT
    } else {
        println!("baseline: {baseline_compiler}\ncompiler: {compiler}");
        println!(
            "another compiler than the baseline's: the limit is {LIMIT_OTHER_COMPILER} %; to renew it: {RENEW}"
        );
        LIMIT_OTHER_COMPILER
    };
    Ok(compare(&counts, &baseline, limit))
}

fn compiler() -> Result<String, String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().map_err(|error| format!("rustc: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs the benchmarks.
fn count(folder: &Path) -> Result<Counts, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["bench", "--locked", "--bench", "counters", "--", "--output-format=json"])
        .current_dir(folder)
        // The counts are those of a default build.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("ATTRACTOR_BACKEND")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("the benchmarks did not run; they need what `--help` names ({})", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let counts: Option<Counts> = text.lines().filter(|line| line.starts_with('{')).map(parse).collect();
    match counts {
        Some(counts) if !counts.is_empty() => Ok(counts),
        _ => Err(format!("the runner's output has another form than expected:\n{text}")),
    }
}

/// Name and count in a line of the runner's output.
fn parse(line: &str) -> Option<(String, u64)> {
    let summary: Value = serde_json::from_str(line).ok()?;
    let (function, id) = (summary["function_name"].as_str()?, summary["id"].as_str()?);
    let values = &summary["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"];
    // The runner remembers the run before and then reports both, the new one first.
    let new = values.get("new").or_else(|| values.get("both")?.get(0))?;
    Some((format!("{function}/{id}"), new.as_u64()?))
}

fn read(file: &Path) -> Option<(String, Counts)> {
    let baseline: Value = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
    let counts = baseline["counts"].as_object()?.iter();
    let counts: Option<Counts> = counts.map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect();
    Some((baseline["compiler"].as_str()?.to_owned(), counts?))
}

/// Prints every count; whether none is missing or above its limit.
fn compare(counts: &Counts, baseline: &Counts, limit: f64) -> bool {
    let (mut within, mut fallen) = (true, false);
    for (name, count) in counts {
        let Some(base) = baseline.get(name) else {
            println!("{name}: {count}, no baseline: wrong");
            within = false;
            continue;
        };
        let change = 100.0 * (*count as f64 / *base as f64 - 1.0);
        let verdict = if change > limit {
            within = false;
            "too many"
        } else if change < -LIMIT {
            fallen = true;
            "fewer"
        } else {
            "as before"
        };
        println!("{name}: {count}, baseline {base}, {change:+.2} %: {verdict}");
    }
    for name in baseline.keys().filter(|name| !counts.contains_key(*name)) {
        println!("{name}: in the baseline, not counted: wrong");
        within = false;
    }
    if fallen {
        println!(
            "counts have fallen by more than {LIMIT} %; so that they stay there, renew the baseline: {RENEW}"
        );
    }
    if !within {
        println!(
            "beyond the limit of {limit} %, or incomplete; if that is meant, renew the baseline: {RENEW}"
        );
    }
    println!("instruction counts: {}", if within { "within their limits" } else { "wrong" });
    within
}
