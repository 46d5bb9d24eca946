//! The program `attractor-lm`, run as a user runs it, on models of width 8 and a text of 4,000 bytes.

#![cfg(unix)]

mod shared;

use attractor_language::Config;
use attractor_language::adapt::Learns;
use attractor_language::checkpoint::Checkpoint;
use attractor_language::exchange;
use shared::{Answer, Room, TINY, borrowed, done, refused, run, spawn, steps, under, value, wait_for};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn every_command_has_help() {
    let help = done(&["--help"]);
    for command in ["pretrain", "finetune", "sample", "eval", "export", "import", "merge"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
        let own = done(&[command, "--help"]);
        assert!(own.contains("Usage: attractor-lm") && own.contains(command), "{own}");
    }
    let help = done(&["pretrain", "--help"]);
    for word in ["--minutes", "--no-feedback", "--save-every", "[default: 128]", "130", "held out"] {
        assert!(help.contains(word), "{word}");
    }
    assert!(done(&["--version"]).starts_with("attractor-lm "));
}

#[test]
fn command_lines_without_sense_are_refused() {
    refused(2, "no command is given", &[]);
    refused(2, "unrecognized subcommand 'nonsense'", &["nonsense"]);
    refused(2, "--widht", &["pretrain", "--widht", "8"]);
    refused(2, "cannot be used with", &["pretrain", "--minutes", "1", "--steps", "1"]);
    refused(2, "cannot be used with", &["pretrain", "--no-feedback", "--sweeps", "2"]);
    refused(2, "not a whole number from 1 to 65536", &["pretrain", "--width", "0"]);
    refused(2, "not a number above 0", &["pretrain", "--minutes", "0"]);
    refused(2, "not a number from 0 to 1", &["pretrain", "--switch", "1.5"]);
    refused(2, "not a number above 0 and at most 1", &["pretrain", "--rate", "nan"]);
    refused(2, "required", &["sample"]);
    refused(2, "not a number of at least 0", &["sample", "x", "--temperature=-1"]);
    refused(2, "not a whole number from 1 to 1024", &["eval", "x", "--sweeps", "1,0"]);
    refused(2, "required", &["export", "x"]);
    // The shape, before there is a folder.
    let room = Room::new("nonsense");
    let out = room.path("out");
    let text = room.path("text");
    refused(
        2,
        "3 heads do not divide a width of 8",
        &["pretrain", &text, "--out", &out, "--width", "8", "--heads", "3"],
    );
    assert!(!Path::new(&out).exists());
}

#[test]
fn texts_that_do_not_do_are_refused() {
    let room = Room::new("texts");
    let out = room.path("out");
    let train = |text: &str, part: &str| {
        let mut arguments = vec!["pretrain", text, "--out", &out, "--steps", "1"];
        arguments.extend(TINY);
        refused(1, part, &arguments);
        assert!(!Path::new(&out).exists());
    };
    train(&room.write("empty", b""), "the text is empty");
    train(&room.write("short", &[65; 12]), "has 11 bytes, and a context of 16 needs 17");
    train(&room.write("tenth", &[65; 160]), "the held-out tenth has 16 bytes, and a context of 16 needs 17");
    train(&room.path("nowhere"), "nowhere: No such file");
    train(&room.path(""), "Is a directory");
    let model = room.model("model", Config::new(8, 2, 2, 16));
    refused(1, "the text is empty", &["eval", &model, &room.path("empty")]);
    refused(1, "has 12 bytes, and a context of 16 needs 17", &["eval", &model, &room.path("short")]);
    let text = room.path("text");
    refused(
        1,
        "a context of 32 is longer than the model's, which is 16",
        &["eval", &model, &text, "--context", "32"],
    );
}

#[test]
fn a_training_says_what_came_of_it() {
    let room = Room::new("training");
    let said =
        room.train("deep/run", &["--steps", "40", "--eval-every", "10", "--rate", "0.01", "--switch", "0.5"]);
    assert_eq!(value(&said, "steps"), "40");
    assert_eq!(value(&said, "sweeps"), "2");
    assert_eq!(value(&said, "tokens"), (40 * 4 * 16).to_string());
    assert_eq!(value(&said, "held-out bytes predicted"), "399");
    let bits: f64 = value(&said, "bits per byte").parse().unwrap();
    assert!(bits > 0.0 && bits < 8.0, "{bits}");
    for name in ["tokens per second", "share of peak", "seconds", "parameters"] {
        assert!(value(&said, name).parse::<f64>().unwrap() >= 0.0, "{name}");
    }
    let curve = fs::read_to_string(room.path("deep/run/curve.csv")).unwrap();
    let steps: Vec<&str> = curve.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(steps, ["10", "20", "30", "40"]);
    // Feedback was switched on half-way.
    let sweeps: Vec<&str> = curve.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_eq!(sweeps, ["1", "1", "2", "2"]);
    assert!(fs::read_to_string(room.path("deep/run/curve.svg")).unwrap().starts_with("<svg"));
    let newest = room.checkpoints("deep/run").pop().unwrap();
    assert_eq!(newest.to_str().unwrap(), value(&said, "checkpoint"));
    let checkpoint = Checkpoint::load(&newest).unwrap();
    assert_eq!((checkpoint.config, checkpoint.sweeps), (Config::new(8, 2, 2, 16), 2));

    // The held-out tenth by itself gives the same bits.
    let (run, text) = (room.path("deep/run"), room.path("text"));
    let said = done(&["eval", &run, &text, "--held-out", "--sweeps", "2,3"]);
    let again: f64 = value(&said, "bits per byte at 2 sweeps").parse().unwrap();
    assert!((again - bits).abs() < 2e-4, "{again} {bits}");
    assert_eq!(value(&said, "held-out bytes"), "400");

    // Windows that overlap: no token is without so many before it, and each is predicted once.
    let said = done(&["eval", &run, &text, "--held-out", "--sweeps", "2", "--overlap", "8"]);
    assert_eq!((value(&said, "overlap"), value(&said, "windows")), ("8", "49"));
    let overlapping: f64 = value(&said, "bits per byte at 2 sweeps").parse().unwrap();
    assert!(overlapping < bits + 0.01, "{overlapping} {bits}");
    refused(2, "--overlap: 16 is not less than the context, 16", &["eval", &run, &text, "--overlap", "16"]);

    // It is not written over.
    let arguments = room.training("deep/run", &["--steps", "1"]);
    refused(1, "`--resume` goes on with it", &borrowed(&arguments));
    // At its end it takes no more steps, and says the same.
    let before = room.result("deep/run");
    let said = done(&["pretrain", &text, "--out", &run, "--resume"]);
    assert_eq!(value(&said, "bits per byte").parse::<f64>().unwrap(), bits);
    assert!(!said.contains("tokens per second"));
    assert_eq!(room.result("deep/run"), before);
}

#[test]
fn plain_and_masked_models_are_trained() {
    let room = Room::new("kinds");
    let said = room.train("plain", &["--steps", "3", "--no-feedback"]);
    assert_eq!(value(&said, "sweeps"), "1");
    assert_eq!(value(&said, "parameters"), (256 * 8 + 16 * 8 + 2 * (12 * 64 + 13 * 8) + 16).to_string());
    let said = room.train("masked", &["--steps", "3", "--masked"]);
    assert!(value(&said, "bits per masked byte").parse::<f64>().unwrap() > 0.0);
    let run = room.path("masked");
    refused(1, "sees both ways", &["sample", &run]);
    let text = room.path("text");
    assert!(done(&["eval", &run, &text]).contains("bits per masked byte at 8 sweeps: "));
    refused(1, "windows of masked bytes do not overlap", &["eval", &run, &text, "--overlap", "4"]);
    assert!(!done(&["eval", &room.path("plain"), &text]).contains("2 sweeps"));
    // From a plain model to one with feedback; another shape is refused with both.
    let plain = room.path("plain");
    let more = room.training("more", &["--from", &plain, "--steps", "2"]);
    let said = done(&borrowed(&more));
    assert!(value(&said, "model").contains(", feedback"));
    let mut arguments = vec!["pretrain", &text, "--from", &plain, "--out", "unused", "--context", "32"];
    refused(
        1,
        "context 16, width 8, heads 2, blocks 2, no feedback, causal; asked for: vocabulary 256, context 32",
        &arguments,
    );
    arguments.truncate(4);
    assert!(!Path::new("unused").exists());
}

#[test]
fn models_are_finetuned() {
    let room = Room::new("finetune");
    room.train("run", &["--steps", "30", "--rate", "0.01"]);
    room.train("plain", &["--steps", "30", "--rate", "0.01", "--no-feedback"]);
    let words = ["sea ", "ship ", "and ", "storm.\n"];
    let text: String = (0_usize..).map(|i| words[i * i % 7 % 4]).take(1000).collect();
    let other = room.write("other", &text.as_bytes()[..4000]);
    let (model, plain) = (room.path("run"), room.path("plain"));
    let newest = |out: &str| Checkpoint::load(&room.checkpoints(out).pop().unwrap()).unwrap();
    let before: f64 = {
        let said = done(&["eval", &model, &other, "--held-out", "--sweeps", "2"]);
        value(&said, "bits per byte at 2 sweeps").parse().unwrap()
    };
    for (out, from, more, learns) in [
        ("all", &model, &[][..], Learns::All),
        ("last", &model, &["--last"], Learns::Last),
        ("adapters", &model, &["--adapters", "3"], Learns::LowRank { rank: 3 }),
        ("retrofit", &plain, &["--feedback", "--sweeps", "2"], Learns::All),
    ] {
        let folder = room.path(out);
        let start = [&["finetune", from, &other, "--out", &folder, "--rate", "0.02"], more].concat();
        let options = [&start[..], &["--steps", "40", "--batch", "4", "--save-every", "0"]].concat();
        // Killed on the way, and gone on with: the bits of a run that was not.
        let arguments: Vec<String> = options.iter().map(|text| (*text).to_owned()).collect();
        let mut child = spawn(&arguments);
        wait_for(&room, out, 9);
        child.kill().unwrap();
        child.wait().unwrap();
        let said = done(&[&options[..], &["--resume"]].concat());
        let whole = format!("{out}-whole");
        let second = room.path(&whole);
        let once: Vec<&str> =
            options.iter().map(|text| if *text == folder { &*second } else { text }).collect();
        done(&once);
        assert!(room.result(out) == room.result(&whole), "{out}");
        let bits: f64 = value(&said, "bits per byte").parse().unwrap();
        // Letters that the first text did not have are learnt by their embeddings, which are not adapted.
        let gain = if learns == Learns::All { 0.3 } else { 0.02 };
        assert!(bits < before - gain, "{out}: {bits}, before {before}");
        let count = if learns == Learns::All { "parameters" } else { "parameters that learn" };
        assert_eq!(value(&said, count), learns.count(&newest(out).config).to_string());
        assert_eq!((newest(out).learns, newest(out).sweeps), (learns, 2));

        // The model alone says the same, and so does what other programs read.
        let merged = room.path(&format!("{out}-merged"));
        assert!(done(&["merge", &folder, "--to", &merged]).contains("checkpoint: "));
        let alone = Checkpoint::load(Path::new(&merged)).unwrap();
        assert_eq!(alone, newest(out).merged().unwrap());
        let again = |model: &str| {
            let said = done(&["eval", model, &other, "--held-out", "--sweeps", "2"]);
            value(&said, "bits per byte at 2 sweeps").parse::<f64>().unwrap()
        };
        assert!((again(&folder) - bits).abs() < 2e-4 && again(&merged) == again(&folder), "{out}");
        let exported = room.path(&format!("{out}-exported"));
        done(&["export", &folder, "--to", &exported]);
        assert!(exchange::import(Path::new(&exported)).unwrap().1[..] == alone.parameters[..]);
        // It is not gone on with in another way.
        let other_way = ["--adapters", "2"];
        let text = format!("what learns: {}", if out == "adapters" { "adapters of rank 3" } else { "" });
        let again = ["finetune", from, &other, "--out", &folder, "--resume"];
        let again = if out == "retrofit" { [&again[..], &["--feedback"]].concat() } else { again.to_vec() };
        refused(1, text.trim_end(), &[&again[..], &other_way].concat());
    }
    // Adapters leave the model beside them as it was; feedback that is added leaves the first sweep as it was.
    assert!(newest("adapters").parameters == newest("run").parameters);
    let (base, tuned) = (newest("run").parameters, newest("last").parameters);
    let own = newest("run").config.block(1).ln_1_weight.start;
    assert!(base[..own] == tuned[..own] && base[own..] != tuned[own..]);
    let first = |model: &str| run(&["sample", model, "--length", "40", "--sweeps", "1"]).output;
    let added = room.path("added");
    done(&["finetune", &plain, &other, "--out", &added, "--feedback", "--steps", "1", "--rate", "1e-30"]);
    assert!(first(&plain).len() == 40 && first(&plain) == first(&added));
    let out = room.path("unused");
    let tune = |part: &str, more: &[&str]| {
        refused(2, part, &[&["finetune", &model, &other, "--out", &out], more].concat());
    };
    tune("rank is 9; it may be 1 to 8", &["--adapters", "9", "--steps", "1"]);
    tune("cannot be used with", &["--adapters", "2", "--last"]);
    tune("not a whole number from 1", &["--adapters", "0"]);
    refused(2, "required", &["finetune", &model]);
    refused(1, "nowhere: No such file", &["finetune", &room.path("nowhere"), &other, "--out", &out]);
    let short = room.write("short", &[65; 160]);
    refused(1, "the held-out tenth has 16 bytes", &["finetune", &model, &short, "--out", &out]);
    assert!(!Path::new(&out).exists());
}

#[test]
fn labels_of_lines_are_learnt() {
    let room = Room::new("labels");
    room.train("run", &["--steps", "10"]);
    let words = ["sea", "ship", "storm", "corn", "plough", "hay"];
    let line = |i: usize| {
        let label = i * i % 7 % 2;
        format!(
            "{}\t{} {}\n",
            ["boat", "farm"][label],
            words[3 * label + i % 3],
            words[3 * label + i / 3 % 3]
        )
    };
    let lines = room.write("lines", (0..300).map(line).collect::<String>().as_bytes());
    let (model, tuned) = (room.path("run"), room.path("tuned"));
    let start = ["finetune", &model, &lines, "--out", &tuned];
    let steps = ["--steps", "150", "--batch", "8", "--rate", "0.02"];
    let said = done(&[&start[..], &["--labels"], &steps].concat());
    let right = |said: &str| value(said, "right").strip_suffix(" %").unwrap().parse::<f64>().unwrap();
    assert!(right(&said) > 90.0, "{said}");
    assert_eq!((value(&said, "labels"), value(&said, "held-out lines")), ("2", "30"));
    let always: f64 =
        value(&said, "right if it were always the same label").strip_suffix(" %").unwrap().parse().unwrap();
    assert!((50.0..80.0).contains(&always), "{always}");
    assert!(value(&said, "bits per token of a label").parse::<f64>().unwrap() < 0.5, "{said}");
    assert_eq!(right(&done(&["eval", &tuned, &lines, "--labels"])), right(&said));
    assert!(right(&done(&["eval", &model, &lines, "--labels", "--threads", "2"])) < 90.0);
    // It is gone on with as it was begun.
    let resume = [&start[..], &["--resume"]].concat();
    refused(1, "the run was begun with --labels true, and now it is false", &resume);
    done(&[&resume[..], &["--labels"]].concat());
    let (other, text) = (room.path("other"), room.path("text"));
    refused(1, "line 1 has no label", &["finetune", &model, &text, "--labels", "--out", &other]);
    refused(1, "line 1 has no label", &["eval", &model, &text, "--labels"]);
    room.train("masked", &["--steps", "1", "--masked"]);
    refused(1, "sees both ways", &["eval", &room.path("masked"), &lines, "--labels"]);
    refused(1, "sees both ways", &["finetune", &room.path("masked"), &lines, "--labels", "--out", &other]);
    // What needs no folder is looked at before there is one.
    assert!(!Path::new(&other).exists());
}

/// What threads there are leaves no trace.
#[test]
fn threads_give_the_same_bytes() {
    let room = Room::new("threads");
    let results = ["1", "2", "3"].map(|threads| {
        room.train(threads, &["--steps", "12", "--threads", threads]);
        room.result(threads)
    });
    assert!(results[0] == results[1] && results[0] == results[2]);
    room.train("seed", &["--steps", "12", "--seed", "2"]);
    assert!(results[0] != room.result("seed"));
}

#[test]
fn a_run_that_is_killed_goes_on_to_the_same_bytes() {
    const STEPS: u32 = 60;
    for kind in [&["--rate", "0.01"][..], &["--masked"], &["--optimizer", "adamw", "--switch", "0"]] {
        let room = Room::new(&format!("killed-{}", kind.len()));
        let all = STEPS.to_string();
        let options = [&["--steps", &all, "--eval-every", "7", "--save-every", "0"], kind].concat();
        // One that saves at its ends only.
        let whole = [&["--steps", &all, "--eval-every", "7", "--save-every", "100"], kind].concat();
        room.train("whole", &whole);
        let resumed = room.training("killed", &[&options[..], &["--resume"]].concat());
        // Before there is anything, and then after checkpoints, at whatever comes then.
        for (after, pause) in [(None, 0), (None, 2), (Some(0), 1), (Some(5), 0), (Some(20), 3), (Some(33), 0)]
        {
            let mut child = spawn(&resumed);
            if let Some(after) = after {
                wait_for(&room, "killed", after);
            }
            sleep(Duration::from_millis(pause));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let reached = room.checkpoints("killed").last().map_or(0, |path| steps(path));
        assert!((33..STEPS).contains(&reached), "{reached}");
        let said = done(&borrowed(&resumed));
        assert_eq!(value(&said, "steps"), all);
        assert!(room.result("killed") == room.result("whole"));
        let left: Vec<_> =
            fs::read_dir(room.0.join("killed")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        // Two checkpoints, two files of the curve, the lock.
        assert_eq!(left.len(), 5, "{left:?}");
    }
}

#[test]
fn an_interrupted_run_is_saved() {
    let room = Room::new("interrupted");
    room.train("whole", &["--steps", "80"]);
    for signal in ["-INT", "-TERM"] {
        let out = &signal[1..];
        let arguments = room.training(out, &["--steps", "80", "--save-every", "0"]);
        let child = spawn(&arguments);
        wait_for(&room, out, 10);
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let answer = Answer::from(child.wait_with_output().unwrap());
        assert_eq!((answer.code, answer.output.as_slice()), (130, &b""[..]), "{}", answer.error);
        let newest = room.checkpoints(out).pop().unwrap();
        let reached = steps(&newest);
        let expected = format!(
            "attractor-lm: interrupted after step {reached} of 80, saved as {}; `--resume` goes on\n",
            newest.display()
        );
        assert_eq!(answer.error, expected);
        // With no more said than where.
        done(&["pretrain", &room.path("text"), "--out", &room.path(out), "--resume"]);
        assert!(room.result(out) == room.result("whole"));
    }
}

#[test]
fn only_the_same_run_is_resumed() {
    let room = Room::new("same");
    room.train("run", &["--steps", "4", "--rate", "0.004"]);
    let before = room.result("run");
    let text = room.path("text");
    let resume = |more: &[&str], part: &str| {
        let out = room.path("run");
        let arguments = [&["pretrain", &text, "--out", &out, "--resume"], more].concat();
        refused(1, part, &arguments);
        assert!(room.result("run") == before);
    };
    resume(&["--rate", "0.5"], "the run was begun with --rate 0.004, and now it is 0.5");
    resume(&["--steps", "9"], "the run was begun with --steps 4, and now it is 9");
    resume(&["--optimizer", "adamw"], "the run was begun with --optimizer muon, and now it is adamw");
    resume(&["--shards", "2"], "the run was begun with --shards 8, and now it is 2");
    resume(&["--seed", "9"], "the run was begun with --seed 1, and now it is 9");
    resume(
        &["--width", "16"],
        "width 8, heads 2, blocks 2, feedback, causal; asked for: vocabulary 256, context 16, width 16",
    );
    resume(
        &["--masked"],
        "causal; asked for: vocabulary 256, context 16, width 8, heads 2, blocks 2, feedback, bidirectional",
    );
    refused(2, "3 heads", &["pretrain", &text, "--out", &room.path("run"), "--resume", "--heads", "3"]);
    let other = room.write("other", &[66; 4000]);
    let out = room.path("run");
    refused(
        1,
        "the run was begun with a text of bytes 4000",
        &["pretrain", &other, "--out", &out, "--resume"],
    );
    // A folder with a model and nothing to go on with.
    fs::create_dir(room.path("model")).unwrap();
    room.model("model/checkpoint-0000000000.bin", Config::new(8, 2, 2, 16));
    refused(1, "no training to go on with", &["pretrain", &text, "--out", &room.path("model"), "--resume"]);
}

#[test]
fn a_damaged_checkpoint_is_refused_and_the_one_before_is_taken() {
    let room = Room::new("damaged");
    room.train("run", &["--steps", "20", "--save-every", "0", "--keep", "3"]);
    let whole = room.result("run");
    let all = room.checkpoints("run");
    assert_eq!(all.iter().map(|path| steps(path)).collect::<Vec<_>>(), [18, 19, 20]);
    let text = room.path("text");
    let folder = room.path("run");
    let resume = ["pretrain", &text, "--out", &folder, "--resume"];

    let newest = all[2].to_str().unwrap();
    let mut bytes = fs::read(newest).unwrap();
    bytes[1000] ^= 1;
    fs::write(newest, &bytes).unwrap();
    refused(1, "is damaged", &["sample", newest]);
    refused(1, "is damaged", &["eval", newest, &text]);
    refused(1, "is damaged", &["export", newest, "--to", &room.path("exported")]);
    fs::write(&all[1], &whole.0[..5000]).unwrap();
    refused(1, "is truncated: 5000 bytes of", &["sample", all[1].to_str().unwrap()]);
    let answer = run(&resume);
    assert_eq!(answer.code, 0, "{}", answer.error);
    let lines: Vec<&str> = answer.error.lines().collect();
    assert_eq!(lines.len(), 2, "{}", answer.error);
    assert!(lines[0].contains("is damaged") && lines[0].ends_with(", the one before it is taken"));
    assert!(lines[1].contains("is truncated"));
    assert!(room.result("run") == whole);

    // None is whole.
    for path in room.checkpoints("run") {
        fs::write(path, "no checkpoint").unwrap();
    }
    let answer = run(&resume);
    assert_eq!(answer.code, 1);
    assert!(answer.error.lines().last().unwrap().ends_with("is no checkpoint"), "{}", answer.error);
    // One of the future is no damage.
    let mut future = whole.0.clone();
    future[8] = 9;
    fs::write(room.checkpoints("run").pop().unwrap(), future).unwrap();
    refused(1, "is a checkpoint of version 9, and this program reads version 2", &resume);
    refused(1, "is a checkpoint of version 9, and this program reads version 2", &["sample", &folder]);
}

#[test]
fn folders_that_cannot_be_written_are_refused_before_the_work() {
    let room = Room::new("folders");
    let file = room.write("file", b"kept");
    for out in [file.clone(), format!("{file}/run"), "/proc/attractor-lm".to_owned(), "/dev/full".to_owned()]
    {
        let begun = Instant::now();
        refused(1, "cannot be written to: ", &["pretrain", "--out", &out, "--minutes", "10"]);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(fs::read(file).unwrap(), b"kept");
}

/// A limit to the size of files does what a full disk does.
#[test]
fn a_full_disk_loses_nothing() {
    const FULL: &str = "trap '' XFSZ; ulimit -f 20; exec \"$@\"";
    let room = Room::new("full");
    let arguments = room.training("run", &["--steps", "30", "--save-every", "0"]);
    let fails = |arguments: &[String]| {
        let answer = under(FULL, &borrowed(arguments));
        assert_eq!((answer.code, answer.output.as_slice()), (1, &b""[..]), "{}", answer.error);
        assert_eq!(answer.error.lines().count(), 1, "{}", answer.error);
        assert!(answer.error.contains("File too large"), "{}", answer.error);
    };
    fails(&arguments);
    assert!(room.checkpoints("run").is_empty());
    let mut child = spawn(&arguments);
    wait_for(&room, "run", 10);
    child.kill().unwrap();
    child.wait().unwrap();
    let before = room.result("run");
    let resumed = room.training("run", &["--resume"]);
    fails(&resumed);
    assert!(room.result("run") == before);
    done(&borrowed(&resumed));
    room.train("whole", &["--steps", "30"]);
    assert!(room.result("run") == room.result("whole"));
}

#[test]
fn an_output_that_is_full_or_closed_is_no_panic() {
    let room = Room::new("outputs");
    room.train("run", &["--steps", "2"]);
    let (run, text) = (room.path("run"), room.path("text"));
    let finished = ["pretrain", &text, "--out", &run, "--resume"];
    for arguments in
        [&["--help"][..], &finished, &["eval", &run, &text], &["sample", &run, "--length", "100000"]]
    {
        let answer = under("exec \"$@\" >/dev/full", arguments);
        assert_eq!(answer.code, 1, "{arguments:?}");
        assert!(answer.error.starts_with("attractor-lm: standard output: "), "{}", answer.error);
        assert_eq!(answer.error.lines().count(), 1, "{}", answer.error);
        // Nobody reads the pipe any more.
        let closed = "{ sleep 0.2; \"$@\"; echo \"$?\" >&2; } | :";
        assert_eq!(under(closed, arguments).error, "0\n", "{arguments:?}");
    }
    // After training all is there, whoever could not be told.
    let arguments = room.training("told", &["--steps", "2"]);
    assert_eq!(under("exec \"$@\" >/dev/full", &borrowed(&arguments)).code, 1);
    assert!(room.result("told") == room.result("run"));
    for (code, arguments) in
        [(0, &["eval", &run, &text][..]), (1, &["sample", "/nowhere"]), (2, &["nonsense"])]
    {
        for script in ["exec \"$@\" 2>/dev/full", "exec \"$@\" 2>&-"] {
            assert_eq!(under(script, arguments).code, code, "{script} {arguments:?}");
        }
    }
}

#[test]
fn samples_are_as_long_as_asked_and_repeat() {
    let room = Room::new("sample");
    room.train("run", &["--steps", "4"]);
    let run = room.path("run");
    let sample = |more: &[&str]| {
        let answer = crate::run(&[&["sample", &run], more].concat());
        assert_eq!(answer.code, 0, "{}", answer.error);
        (answer.output, answer.error)
    };
    let (text, said) = sample(&["--prompt", "In the", "--length", "50"]);
    assert_eq!(text.len(), 56);
    assert!(text.starts_with(b"In the"));
    let names: Vec<_> = said.lines().map(|line| line.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(names, ["microseconds per token", "share of loading the weights"], "{said}");
    assert_eq!(sample(&["--prompt", "In the", "--length", "50"]).0, text);
    assert_ne!(sample(&["--prompt", "In the", "--length", "50", "--seed", "2"]).0, text);
    // The most likely byte, whatever the seed; the same is the top one of one, and of no probability.
    let likely = sample(&["--temperature", "0"]).0;
    assert_eq!(likely.len(), 500);
    for options in [&["--temperature", "0", "--seed", "5"][..], &["--top-k", "1"], &["--top-p", "0"]] {
        assert_eq!(sample(options).0, likely, "{options:?}");
    }
    // A prompt longer than the context, and none.
    let long = "x".repeat(100);
    assert_eq!(sample(&["--prompt", &long, "--length", "3"]).0.len(), 103);
    assert_eq!(sample(&["--prompt", &long, "--length", "0"]).0, long.as_bytes());
    assert_eq!(sample(&["--prompt", "", "--length", "9"]).0.len(), 9);
    refused(1, "nowhere: No such file", &["sample", &room.path("nowhere")]);
    refused(1, "has no checkpoint", &["sample", room.0.to_str().unwrap()]);
    refused(1, "is no checkpoint", &["sample", &room.path("text")]);
    let words = Config { vocabulary: 300, ..Config::new(8, 2, 2, 16) };
    let words = room.model("words", words);
    refused(1, "the model has 300 tokens", &["sample", &words]);
    refused(1, "the model has 300 tokens", &["eval", &words, &room.path("text")]);
}

#[test]
fn models_are_made_small() {
    let room = Room::new("small");
    room.train("run", &["--steps", "30", "--rate", "0.01"]);
    let (run, text) = (room.path("run"), room.path("text"));
    let bits = |model: &str| -> f64 {
        let said = done(&["eval", model, &text, "--held-out", "--sweeps", "2"]);
        value(&said, "bits per byte at 2 sweeps").parse().unwrap()
    };
    let whole = bits(&run);
    for (size, most) in [("8", 0.03), ("16", 0.02)] {
        let small = room.path(size);
        let said = done(&["shrink", &run, "--to", &small, "--bits", size]);
        assert_eq!(value(&said, "bits of a weight"), size);
        assert_eq!(value(&said, "bytes"), fs::metadata(&small).unwrap().len().to_string());
        assert!((bits(&small) - whole).abs() < most, "{size}");
        let sample = ["sample", &small, "--prompt", "In the", "--length", "50"];
        let found = crate::run(&sample);
        assert_eq!((found.code, found.output.len()), (0, 56), "{}", found.error);
        assert_eq!(crate::run(&sample).output, found.output);
        // The others take what its weights stand for.
        let folder = room.path(&format!("exported-{size}"));
        done(&["export", &small, "--to", &folder]);
        let again = room.path(&format!("again-{size}"));
        done(&["shrink", &small, "--to", &again, "--bits", size]);
        let mut bytes = fs::read(&small).unwrap();
        bytes[100] ^= 1;
        let damaged = room.write(&format!("damaged-{size}"), &bytes);
        for command in [&["sample", &damaged][..], &["eval", &damaged, &text]] {
            refused(1, "damaged", command);
        }
        bytes.truncate(90);
        let cut = room.write(&format!("cut-{size}"), &bytes);
        refused(1, "the file is 90 bytes long and should be", &["sample", &cut]);
    }
    refused(2, "neither 8 nor 16", &["shrink", &run, "--to", &room.path("4"), "--bits", "4"]);
    refused(1, "nowhere: No such file", &["shrink", &room.path("nowhere"), "--to", &room.path("x")]);
    refused(1, "No such file", &["shrink", &run, "--to", &room.path("no/folder")]);
    // Training that rounds goes on as it was begun, and says what the rounded model reaches.
    let said = room.train("rounded", &["--steps", "20", "--rate", "0.01", "--rounded"]);
    let rounded = room.path("rounded");
    let small = room.path("rounded.small");
    done(&["shrink", &rounded, "--to", &small]);
    let found: f64 = value(&said, "bits per byte").parse().unwrap();
    assert!((bits(&small) - found).abs() < 2e-4, "{found}");
    let resumed = done(&["pretrain", &text, "--out", &rounded, "--resume"]);
    assert_eq!(value(&resumed, "bits per byte"), value(&said, "bits per byte"));
    refused(
        1,
        "the run was begun with --rounded false, and now it is true",
        &["pretrain", &text, "--out", &run, "--resume", "--rounded"],
    );
}

/// Every command takes a model that has a window and no places as what it is.
#[test]
fn a_model_without_places_and_with_a_window_is_one_everywhere() {
    let room = Room::new("window");
    let shape = ["--steps", "20", "--rate", "0.01", "--no-places", "--window", "3"];
    let said = room.train("near", &shape);
    assert!(value(&said, "model").ends_with(", no places, window 3"), "{said}");
    let (near, text) = (room.path("near"), room.path("text"));
    let bits = |model: &str| {
        value(&done(&["eval", model, &text, "--held-out", "--sweeps", "2"]), "bits per byte at 2 sweeps")
            .to_owned()
    };
    assert_eq!(bits(&near), value(&said, "bits per byte"));
    let (folder, back) = (room.path("exported"), room.path("back.bin"));
    done(&["export", &near, "--to", &folder]);
    done(&["import", &folder, "--to", &back]);
    assert_eq!(bits(&back), bits(&near));
    let sample = |model: &str| {
        run(&["sample", model, "--prompt", "the ", "--length", "40", "--seed", "3", "--sweeps", "2"]).output
    };
    assert_eq!(sample(&back), sample(&near));
    refused(1, "is of another shape", &["pretrain", &text, "--out", &near, "--resume", "--window", "4"]);
    refused(2, "--window", &["pretrain", &text, "--out", &room.path("x"), "--window", "3", "--masked"]);
    refused(2, "from 1 to 65535", &["pretrain", &text, "--out", &room.path("x"), "--window", "0"]);
}

/// A run that has a teacher goes on with that teacher and no other, and what it reaches is told of the text.
#[test]
fn a_model_learns_from_another_one() {
    let room = Room::new("teacher");
    let said = room.train("teacher", &["--steps", "30", "--rate", "0.01"]);
    let (teacher, text) = (room.path("teacher"), room.path("text"));
    let small = ["--steps", "20", "--rate", "0.01", "--no-feedback", "--teacher", &teacher];
    let taught = room.train("taught", &small);
    let alone = room.train("alone", &small[..5]);
    assert_ne!(value(&taught, "bits per byte"), value(&alone, "bits per byte"));
    assert!(
        value(&said, "parameters").parse::<u32>().unwrap() > value(&taught, "parameters").parse().unwrap()
    );
    let out = room.path("taught");
    let resume = ["pretrain", &text, "--out", &out, "--resume", "--no-feedback"];
    let with = |more: &[&'static str]| [&resume[..], more].concat();
    refused(1, "the run was begun with a teacher: `--teacher` names its checkpoint", &resume);
    let resumed = done(&[&resume[..], &["--teacher", &teacher]].concat());
    assert_eq!(value(&resumed, "bits per byte"), value(&taught, "bits per byte"));
    let another = room.path("alone");
    refused(
        1,
        "the run was begun with --teacher of share 0.5",
        &[&resume[..], &["--teacher", &another]].concat(),
    );
    refused(2, "--teacher", &with(&["--teacher-share", "0.5"]));
    refused(
        1,
        "No such file",
        &["pretrain", &text, "--out", &room.path("x"), "--teacher", &room.path("nowhere")],
    );
}

/// Pieces of words need a feature, and every command that would need it says so.
#[cfg(not(feature = "bpe"))]
#[test]
fn a_program_without_pieces_of_words_names_the_feature() {
    let room = Room::new("pieces");
    let config = Config { vocabulary: 300, ..Config::new(8, 2, 2, 16) };
    let (words, text, out) = (room.model("words", config), room.path("text"), room.path("out"));
    let folder = room.path("folder");
    exchange::export(Path::new(&folder), &config, &vec![0.0; config.parameters()]).unwrap();
    for command in [
        &["eval", &words, &text][..],
        &["sample", &words],
        &["export", &words, "--to", &out],
        &["import", &folder, "--to", &out],
        &["pretrain", &text, "--from", &words, "--out", &out, "--steps", "1"],
    ] {
        let part = "the model has 300 tokens, pieces of words: the feature `bpe` reads them, \
                    `cargo run --release -p attractor-language --features bpe -- ...`";
        refused(1, part, command);
        assert!(!Path::new(&out).exists());
    }
}

/// A model that knows nothing takes 8 bits a byte, with any number of sweeps and any window.
/// Several that know nothing of each other would train as often.
#[cfg(not(feature = "mpi"))]
#[test]
fn a_program_without_mpi_is_no_rank() {
    let answer = under("OMPI_COMM_WORLD_SIZE=4 exec \"$@\"", &["pretrain", "--steps", "1"]);
    assert_eq!((answer.code, answer.output.as_slice()), (2, &b""[..]));
    assert!(answer.error.contains("one of 4 ranks: the feature `mpi`"), "{}", answer.error);
    assert_eq!(answer.error.lines().count(), 1);
}

#[test]
fn a_model_of_zeros_takes_eight_bits() {
    let room = Room::new("zeros");
    let model = room.model("model", Config::new(8, 2, 2, 16));
    for context in ["16", "5"] {
        let said = done(&["eval", &model, &room.path("text"), "--context", context]);
        for sweeps in ["1 sweep", "2 sweeps", "4 sweeps", "8 sweeps"] {
            assert_eq!(value(&said, &format!("bits per byte at {sweeps}")), "8.0000");
        }
        assert_eq!(value(&said, "text bytes"), "4000");
        let windows = 3999_usize.div_ceil(context.parse().unwrap());
        assert_eq!(value(&said, "windows"), windows.to_string());
    }
}

#[test]
fn minutes_are_kept_and_fix_the_number_of_steps() {
    let room = Room::new("minutes");
    let begun = Instant::now();
    let said = room.train("whole", &["--minutes", "0.03"]);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(value(&said, "steps").parse::<u32>().unwrap() >= 1);
    // The measurement leaves no trace: with as many steps said, the same bytes.
    room.train("steps", &["--steps", value(&said, "steps")]);
    assert!(room.result("whole") == room.result("steps"));
    // After a pause there are as many steps as before it.
    let options = ["--minutes", "0.05", "--resume", "--save-every", "0"];
    let arguments = room.training("killed", &options);
    let mut child = spawn(&arguments);
    // The first checkpoint has the number.
    wait_for(&room, "killed", 0);
    child.kill().unwrap();
    child.wait().unwrap();
    let all =
        Checkpoint::load(&room.checkpoints("killed")[0]).unwrap().training.unwrap().settings.schedule.steps;
    let said = done(&borrowed(&room.training("killed", &["--minutes", "0.05", "--resume"])));
    assert_eq!(value(&said, "steps"), all.to_string());
}
