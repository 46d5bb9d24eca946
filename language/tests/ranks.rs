//! The program `attractor-lm`, started by `mpirun` as several ranks: the bits of one process, whoever dies, and no rank that is not like the others.

#![cfg(unix)]

mod shared;

use shared::{Answer, PROGRAM, Room, borrowed, done, run, steps, value, wait_for};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// `mpirun` with what a machine of few processors and a container need. Others than Open MPI do not know these.
fn mpirun() -> Command {
    let mut command = Command::new("mpirun");
    for (name, value) in [
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
        ("OMPI_MCA_hwloc_base_binding_policy", "none"),
        ("OMPI_MCA_btl_vader_single_copy_mechanism", "none"),
        // Where there is no ssh, which no rank here needs.
        ("OMPI_MCA_plm_rsh_agent", "sh"),
        // Ranks share two processors with each other and with other tests.
        ("OMPI_MCA_mpi_yield_when_idle", "1"),
    ] {
        command.env(name, value);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn started(command: &mut Command) -> Child {
    match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            panic!("mpirun: {error}; these tests need it: apt-get install libopenmpi-dev openmpi-bin")
        }
    }
}

/// So many ranks, each of which first leaves its number as a process in the folder.
fn spawned(room: &Room, ranks: usize, arguments: &[String]) -> Child {
    let script = "echo $$ >\"$0.$OMPI_COMM_WORLD_RANK\"; exec \"$@\"";
    let ranks = ranks.to_string();
    let name = room.path("rank");
    started(mpirun().args(["-n", &ranks, "sh", "-c", script, &name, PROGRAM]).args(arguments))
}

/// So many ranks, until all have ended.
fn by(ranks: usize, arguments: &[String]) -> Answer {
    let ranks = ranks.to_string();
    started(mpirun().args(["-n", &ranks, PROGRAM]).args(arguments)).wait_with_output().unwrap().into()
}

/// The lines that the program itself said on standard error; `mpirun` adds its own.
fn own(answer: &Answer) -> Vec<&str> {
    answer.error.lines().filter(|line| line.starts_with("attractor-lm: ")).collect()
}

/// The number of a rank's process, as a word.
fn process(room: &Room, rank: usize) -> String {
    fs::read_to_string(room.path(&format!("rank.{rank}"))).unwrap().trim().to_owned()
}

fn signal(name: &str, process: &str) {
    assert!(Command::new("kill").args([name, process]).status().unwrap().success());
}

const OPTIONS: [&str; 5] = ["--steps", "12", "--eval-every", "5", "--rate=0.01"];

#[test]
fn any_number_of_ranks_writes_the_bytes_of_one_process() {
    let room = Room::new("ranks-same");
    let alone = room.train("alone", &OPTIONS);
    for ranks in [1, 2, 3, 4] {
        let out = ranks.to_string();
        let answer = by(ranks, &room.training(&out, &OPTIONS));
        assert_eq!((answer.code, answer.error.as_str()), (0, ""), "{ranks} ranks");
        assert!(room.result(&out) == room.result("alone"), "{ranks} ranks");
        // Said by one, and the same but for places and speeds.
        let said = String::from_utf8(answer.output).unwrap();
        let names = ["model", "steps", "tokens", "bits per byte in training", "bits per byte"];
        for name in names {
            assert_eq!(value(&said, name), value(&alone, name), "{name}");
            assert_eq!(said.lines().filter(|line| line.starts_with(&format!("{name}: "))).count(), 1);
        }
        assert_eq!(said.contains("bytes exchanged per step: "), ranks > 1, "{said}");
    }
    // Adapters beside a model, on as many ranks as a batch has sequences.
    let (model, text) = (room.path("alone"), room.path("text"));
    let tune = |out: &str| {
        let options = ["--adapters", "2", "--steps", "5", "--batch", "3", "--sweeps", "2"];
        let out = room.path(out);
        let arguments = [&["finetune", &model, &text, "--out", &out], &options[..]].concat();
        arguments.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    done(&borrowed(&tune("tuned")));
    let answer = by(3, &tune("tuned-3"));
    assert_eq!((answer.code, answer.error.as_str()), (0, ""));
    assert!(room.result("tuned-3") == room.result("tuned"));
}

#[test]
fn minutes_are_measured_by_one_rank_for_all() {
    let room = Room::new("ranks-minutes");
    let answer = by(2, &room.training("run", &["--minutes", "0.02"]));
    assert_eq!((answer.code, answer.error.as_str()), (0, ""));
    let said = String::from_utf8(answer.output).unwrap();
    room.train("alone", &["--steps", value(&said, "steps")]);
    assert!(room.result("run") == room.result("alone"));
}

#[test]
fn a_rank_that_dies_ends_the_job_and_any_number_goes_on() {
    const STEPS: [&str; 4] = ["--steps", "400", "--eval-every", "40"];
    let room = Room::new("ranks-killed");
    room.train("whole", &STEPS);
    let options = [&STEPS[..], &["--save-every", "0", "--resume"]].concat();
    for (ranks, killed, after) in [(3, 2, 10), (2, 0, 60)] {
        let child = spawned(&room, ranks, &room.training("run", &options));
        wait_for(&room, "run", after);
        signal("-KILL", &process(&room, killed));
        let answer = Answer::from(child.wait_with_output().unwrap());
        assert_ne!(answer.code, 0, "{}", answer.error);
        let reached = room.checkpoints("run").last().map_or(0, |path| steps(path));
        assert!((after..400).contains(&reached), "{reached}");
    }
    let answer = by(4, &room.training("run", &[&STEPS[..], &["--resume"]].concat()));
    assert_eq!((answer.code, answer.error.as_str()), (0, ""));
    assert!(room.result("run") == room.result("whole"));
}

#[test]
fn all_ranks_stop_after_the_same_step() {
    let room = Room::new("ranks-stopped");
    room.train("whole", &["--steps", "300"]);
    let arguments = room.training("run", &["--steps", "300", "--save-every", "0", "--resume"]);
    // One rank alone is asked, not the one that saves.
    let child = spawned(&room, 3, &arguments);
    wait_for(&room, "run", 10);
    signal("-TERM", &process(&room, 1));
    let answer = Answer::from(child.wait_with_output().unwrap());
    let newest = room.checkpoints("run").pop().unwrap();
    let reached = steps(&newest);
    let expected = format!(
        "attractor-lm: interrupted after step {reached} of 300, saved as {}; `--resume` goes on",
        newest.display()
    );
    assert_eq!((answer.code, own(&answer)), (130, vec![expected.as_str()]), "{}", answer.error);
    assert!((10..300).contains(&reached), "{reached}");
    done(&borrowed(&arguments));
    assert!(room.result("run") == room.result("whole"));
}

/// Ranks that were started with different arguments.
fn mixed(first: &[String], second: &[String]) -> Answer {
    let mut command = mpirun();
    command.args(["-n", "1", PROGRAM]).args(first);
    command.args([":", "-n", "2", PROGRAM]).args(second);
    started(&mut command).wait_with_output().unwrap().into()
}

#[test]
fn ranks_that_are_not_alike_are_refused() {
    let room = Room::new("ranks-unlike");
    let other = room.write("other", &[66; 4000]);
    room.train("begun", &["--steps", "4"]);
    let training = |out: &str, more: &[&str]| room.training(out, &[&["--steps", "9"], more].concat());
    let first = training("run", &[]);
    let mut text = first.clone();
    text[1] = other;
    let mut nowhere = first.clone();
    nowhere[1] = room.path("nowhere");
    let going_on = room.training("begun", &["--steps", "4", "--resume"]);
    let from_start = room.training("elsewhere", &["--steps", "4", "--resume"]);
    for (first, second, code, part) in [
        (&first, &training("run", &["--rate", "0.5"]), 2, "rank 0 has --rate 0.006, and rank 1 has 0.5; "),
        (&first, &training("run", &["--seed", "2"]), 2, "rank 0 has --seed 1, and rank 1 has 2; "),
        (&first, &training("run", &["--masked"]), 2, "rank 0 has the model: vocabulary 256, "),
        (&first, &text, 2, "rank 0 has a text of bytes 4000 (checksum "),
        (&going_on, &from_start, 2, "rank 0 has a model at step 4, and rank 1 has 0; "),
        (&first, &nowhere, 1, "rank 1: "),
        (&nowhere, &nowhere, 1, "nowhere: No such file"),
    ] {
        let begun = Instant::now();
        let answer = mixed(first, second);
        let said = own(&answer);
        assert_eq!((answer.code, said.len()), (code, 1), "{part}: {}", answer.error);
        assert!(said[0].contains(part), "{}", said[0]);
        assert!(answer.output.is_empty());
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }
    assert!(room.checkpoints("run").is_empty() && !Path::new(&room.path("elsewhere")).exists());
}

#[test]
fn more_ranks_than_shards_are_refused() {
    let room = Room::new("ranks-many");
    let answer = by(5, &room.training("run", &["--steps", "9"]));
    let expected = "5 ranks: a batch of 4 has 4 shards, and each rank needs one; ";
    let said = own(&answer);
    assert_eq!((answer.code, said.len()), (2, 1), "{}", answer.error);
    assert!(said[0].contains(expected), "{}", said[0]);
}

/// A step that no rank can take, as weights grow a hundredfold in each.
#[test]
fn all_ranks_fail_in_the_same_step() {
    let room = Room::new("ranks-not-finite");
    let options =
        ["--steps", "100", "--optimizer", "adamw", "--rate", "1", "--decay", "100", "--warm-up", "0"];
    let alone = run(&borrowed(&room.training("alone", &options)));
    assert!(alone.code == 1 && alone.error.contains(" not a number"), "{}", alone.error);
    let answer = by(3, &room.training("run", &options));
    assert_eq!((answer.code, own(&answer)), (1, vec![alone.error.trim_end()]), "{}", answer.error);
}

/// Whether there is such a process that has not ended: it may be there after its end, if nobody asks what came of it.
fn runs(process: &str) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", process]).output().unwrap().stdout;
    !state.is_empty() && !state.starts_with(b"Z")
}

/// Twelve shards are not the bits of eight, but of one process with twelve.
#[test]
fn more_shards_are_for_more_ranks() {
    let room = Room::new("ranks-shards");
    let training = |out: &str, more: &[&str]| {
        let mut arguments = room.training(out, &[&["--steps", "4"], more].concat());
        let batch = arguments.iter().position(|text| text == "--batch").unwrap();
        arguments[batch + 1] = "12".to_owned();
        arguments
    };
    done(&borrowed(&training("alone", &["--shards", "12"])));
    done(&borrowed(&training("eight", &[])));
    let answer = by(9, &training("run", &["--shards", "12"]));
    assert_eq!((answer.code, answer.error.as_str()), (0, ""));
    assert!(room.result("run") == room.result("alone"));
    // The curve, for the number itself is in the checkpoint.
    assert!(room.result("run").1 != room.result("eight").1);
}

/// What one rank alone cannot do ends all: here rank 0 finds its folder gone.
#[test]
fn a_rank_that_fails_alone_leaves_none_behind() {
    let room = Room::new("ranks-failing");
    let child = spawned(&room, 3, &room.training("run", &["--steps", "100000", "--save-every", "0"]));
    wait_for(&room, "run", 3);
    while fs::remove_dir_all(room.path("run")).is_err() {
        sleep(Duration::from_millis(1));
    }
    let answer = Answer::from(child.wait_with_output().unwrap());
    assert_eq!((answer.code, own(&answer).len()), (1, 1), "{}", answer.error);
    for rank in 0..3 {
        let process = process(&room, rank);
        let begun = Instant::now();
        while runs(&process) {
            assert!(begun.elapsed() < Duration::from_secs(10), "rank {rank} goes on");
            sleep(Duration::from_millis(10));
        }
    }
}
