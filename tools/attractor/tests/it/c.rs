//! `codegen --c`: the header, its caller and the static library, compiled and run on the host. (`c/run` does it for a Cortex-M4.)

#![cfg(unix)]

use crate::common::{Room, done, table};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The static library, built as its readers build it.
fn library() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c-library");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("c/Cargo.toml");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--release", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&folder)
        // Sooner compiled than run here.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .status();
    assert!(built.unwrap().success());
    folder.join("release/libattractor.a")
}

/// Compiles a C file of a room with the library.
fn compiled(room: &Room, source: &str) -> String {
    let program = room.path("program");
    let strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2", "-o", &program];
    let built = Command::new("cc")
        .args(strict)
        .arg(room.path(source))
        .arg(library())
        .args(["-lm", "-lpthread", "-ldl"])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    program
}

fn numbers(text: &str) -> Vec<Vec<f64>> {
    let row = |line: &str| line.split([' ', ',']).map(|number| number.parse().unwrap()).collect();
    text.lines().map(row).collect()
}

/// Each in turn, for they build the same library.
#[test]
fn c_programs_print_the_outputs_of_the_network() {
    the_caller_prints_what_evaluate_writes();
    what_c_gets_wrong_is_refused();
}

fn the_caller_prints_what_evaluate_writes() {
    let room = Room::new("c-caller");
    let data = table("iris.csv");
    let inputs: String = fs::read_to_string(&data)
        .unwrap()
        .lines()
        .map(|line| line.rsplit_once(',').unwrap().0.replace(',', " ") + "\n")
        .collect();
    for (options, tolerance, most) in [
        (&["--feedback", "dense", "--hidden", "sigmoid"][..], "1e-5", 1e-4),
        (&["--scalar", "f64", "--feedback", "tied:50"], "1e-10", 1e-9),
        (
            &["--feedback", "skip", "--widths", "12,8,6", "--hidden", "leaky-relu", "--output", "tanh"],
            "1e-5",
            1e-4,
        ),
    ] {
        let (model, outputs) = (room.path("iris.attr"), room.path("outputs"));
        done(&[&["train", &data, "--to", &model, "--epochs", "5"], options].concat());
        done(&["evaluate", &model, &data, "--outputs", &outputs, "--tolerance", tolerance]);
        done(&["codegen", &model, "--c", &room.path("iris-net.h"), "--caller", &room.path("main.c")]);
        let program = compiled(&room, "main.c");
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writing = inputs.clone();
        let writer = std::thread::spawn(move || stdin.write_all(writing.as_bytes()).unwrap());
        let found = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(found.status.success());
        let (found, expected) = (
            numbers(&String::from_utf8(found.stdout).unwrap()),
            numbers(&fs::read_to_string(outputs).unwrap()),
        );
        assert_eq!((found.len(), expected.len()), (150, 150));
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < most, "{options:?}: {found} {expected}");
        }
    }
}

/// Every refusal of the library, and that nothing is written then.
fn what_c_gets_wrong_is_refused() {
    let room = Room::new("c-refused");
    let model = room.path("net.attr");
    done(&["train", &table("iris.csv"), "--to", &model, "--epochs", "5"]);
    done(&["codegen", &model, "--c", &room.path("net.h")]);
    let text = r#"
#include <math.h>
#include <stdio.h>
#include "net.h"
#include "net.h" /* twice is once */

static float input[NET_INPUTS] = {5.1f, 3.5f, 1.4f, 0.2f}, output[NET_OUTPUTS], memory[NET_MEMORY + 1];
static int failed;

static void expect(int line, int32_t wanted, const attractor_network *net, const float *in, float *out, float *room,
                   uint32_t count, float tolerance, uint32_t most) {
    attractor_report report = {77, 77.0f};
    output[0] = 5.0f;
    int32_t found = attractor_solve(net, in, out, room, count, tolerance, most, &report);
    int touched = wanted == ATTRACTOR_SOLVED || wanted == ATTRACTOR_NOT_CONVERGED;
    if (found != wanted || (output[0] != 5.0f) != touched || (report.sweeps == 77) != (wanted == ATTRACTOR_REFUSED)) {
        printf("line %d: %d, not %d; output %g, sweeps %u\n", line, (int)found, (int)wanted, (double)output[0],
               (unsigned)report.sweeps);
        failed = 1;
    }
}
#define EXPECT(wanted, net, in, out, room, count, tolerance, most) \
    expect(__LINE__, wanted, net, in, out, room, count, tolerance, most)
#define REFUSED(change) \
    do { \
        attractor_network other = net_net; \
        change; \
        EXPECT(ATTRACTOR_REFUSED, &other, input, output, memory, NET_MEMORY, 1e-5f, 100); \
    } while (0)

int main(void) {
    const uint32_t zero[4] = {4, 0, 16, 3}, narrow[4] = {4, 31, 16, 3};
    float nan[NET_INPUTS] = {NAN, 0, 0, 0};
    EXPECT(ATTRACTOR_SOLVED, &net_net, input, output, memory, NET_MEMORY, 1e-5f, 100);
    EXPECT(ATTRACTOR_SOLVED, &net_net, input, output, memory, NET_MEMORY + 1, 1e-5f, 100);
    EXPECT(ATTRACTOR_NOT_CONVERGED, &net_net, input, output, memory, NET_MEMORY, 1e-5f, 1);
    EXPECT(ATTRACTOR_NOT_FINITE, &net_net, nan, output, memory, NET_MEMORY, 1e-5f, 100);
    EXPECT(ATTRACTOR_REFUSED, &net_net, input, output, memory, NET_MEMORY, -1e-5f, 100);
    EXPECT(ATTRACTOR_REFUSED, &net_net, input, output, memory, NET_MEMORY, NAN, 100);
    EXPECT(ATTRACTOR_REFUSED, &net_net, input, output, memory, NET_MEMORY, 1e-5f, 0);
    EXPECT(ATTRACTOR_REFUSED, NULL, input, output, memory, NET_MEMORY, 1e-5f, 100);
    EXPECT(ATTRACTOR_REFUSED, &net_net, NULL, output, memory, NET_MEMORY, 1e-5f, 100);
    EXPECT(ATTRACTOR_REFUSED, &net_net, input, NULL, memory, NET_MEMORY, 1e-5f, 100);
    EXPECT(ATTRACTOR_REFUSED, &net_net, input, output, NULL, NET_MEMORY, 1e-5f, 100);
    EXPECT(ATTRACTOR_REFUSED, &net_net, input, output, memory, NET_MEMORY - 1, 1e-5f, 100);
    EXPECT(ATTRACTOR_REFUSED, &net_net, (const float *)((const char *)input + 1), output, memory, NET_MEMORY, 1e-5f, 100);
    REFUSED(other.weights = NULL);
    REFUSED(other.widths = NULL);
    REFUSED(other.widths = zero);
    REFUSED(other.widths = narrow);
    REFUSED(other.weight_count -= 1);
    REFUSED(other.depth = 0);
    REFUSED(other.depth = 33);
    REFUSED(other.feedback = 5);
    REFUSED(other.feedback = 3); /* tied, without a strength */
    REFUSED(other.percent = 50);
    REFUSED(other.hidden = 6);
    REFUSED(other.output = 6);
    if (attractor_solve(&net_net, input, output, memory, NET_MEMORY, 1e-5f, 100, NULL) != ATTRACTOR_SOLVED) {
        failed = 1;
    }
    return failed;
}
"#;
    room.write("refused.c", text.as_bytes());
    let found = Command::new(compiled(&room, "refused.c")).output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stdout));
}
