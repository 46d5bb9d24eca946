//! The command line, on images made by hand and on real ones.

mod elf;

use elf::{Elf, RISC_V, TEXT};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

struct Answer {
    code: i32,
    output: String,
    error: String,
}

fn run(arguments: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_inspect")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answer { code: output.status.code().unwrap(), output: text(output.stdout), error: text(output.stderr) }
}

fn place(bytes: &[u8]) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{}-{}.elf", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn inspect(bytes: &[u8], arguments: &[&str]) -> Answer {
    let path = place(bytes);
    let answer = run(&[&[path.to_str().unwrap()], arguments].concat());
    fs::remove_file(path).unwrap();
    answer
}

/// The bound, and the path.
fn stack(image: Elf, function: &str) -> (String, String) {
    let answer = inspect(&image.bytes(), &["stack", function]);
    assert_eq!((answer.code, answer.error.as_str()), (0, ""));
    let (path, bound) = answer.output.trim_end().split_once('\n').unwrap();
    (bound.to_owned(), path.strip_prefix("# ").unwrap().to_owned())
}

/// One line, and exit code 1.
fn failure(image: Elf, arguments: &[&str]) -> String {
    let answer = inspect(&image.bytes(), arguments);
    assert_eq!((answer.code, answer.output.as_str()), (1, ""), "{}", answer.error);
    assert_eq!(answer.error.lines().count(), 1);
    answer.error.trim_end().strip_prefix("inspect: ").unwrap().to_owned()
}

fn far(from: u32, to: u32, second: u16) -> [u16; 2] {
    let offset = to.wrapping_sub(from + 4);
    // Near enough that both bits between sign and offset are those of the sign, which is written as ones.
    [0xf000 | (offset >> 12 & 0x7ff) as u16, second | 0x2800 | (offset >> 1 & 0x7ff) as u16]
}

fn bl(from: u32, to: u32) -> [u16; 2] {
    far(from, to, 0xd000)
}

fn jump(from: u32, to: u32) -> [u16; 2] {
    far(from, to, 0x9000)
}

const A: u32 = TEXT;
const B: u32 = TEXT + 0x100;
const C: u32 = TEXT + 0x200;

const PUSH_R7_LR: u16 = 0xb580;
const POP_R7_PC: u16 = 0xbd80;
const BX_LR: u16 = 0x4770;
const SUB_SP_24: u16 = 0xb086;
const ADD_SP_24: u16 = 0xb006;
/// `pop.w {r7, lr}`
const POP_R7_LR: [u16; 2] = [0xe8bd, 0x4080];

/// A leaf with a frame of 24 bytes.
const LEAF: [u16; 3] = [SUB_SP_24, ADD_SP_24, BX_LR];

#[test]
fn help_and_usage() {
    let help = run(&["--help"]);
    assert_eq!((help.code, help.error.as_str()), (0, ""));
    assert!(help.output.contains("Usage: inspect IMAGE COMMAND"));
    for (arguments, message) in [
        (&[][..], "no image is named"),
        (&["image"], "no command is given"),
        (&["image", "nonsense"], "unknown command `nonsense`"),
        (&["image", "stack"], "`stack` needs a name"),
        (&["image", "forbid"], "`forbid` needs a name"),
        (&["image", "forbid", ""], "a name is empty"),
        (&["image", "functions", "more"], "`more` is one argument too many"),
        (&["image", "sizes", "--without"], "`--without` needs a name"),
        (&["image", "stack", "main", "--without", "x"], "unknown option `--without`"),
    ] {
        let answer = run(arguments);
        assert_eq!((answer.code, answer.output.as_str()), (2, ""), "{arguments:?}");
        assert_eq!(answer.error, format!("inspect: {message} (`--help` lists the commands)\n"));
    }
}

#[test]
fn what_is_no_image() {
    let answer = run(&["/nowhere/image.elf", "sizes"]);
    assert_eq!(answer.code, 1);
    assert!(answer.error.starts_with("inspect: /nowhere/image.elf: "), "{}", answer.error);
    for bytes in [&b""[..], b"not an image at all", b"\x7fELF\x01\x01\x01"] {
        let answer = inspect(bytes, &["sizes"]);
        assert_eq!(answer.code, 1);
        assert!(answer.error.starts_with("inspect: not an image that can be read: "), "{}", answer.error);
    }
    // An x86-64 program: this one.
    let answer = run(&[env!("CARGO_BIN_EXE_inspect"), "sizes"]);
    assert_eq!(answer.code, 1);
    assert!(answer.error.contains("not an image that can be read"), "{}", answer.error);
    let object = {
        let mut bytes = Elf::new().bytes();
        bytes[16] = 1;
        bytes
    };
    assert!(inspect(&object, &["sizes"]).error.contains("not a linked image"));
}

#[test]
fn sizes() {
    let image =
        || Elf::new().function("main", A, &LEAF, 24).data("NET", 300).data("OTHER", 50).data("NET_ALIAS", 10);
    let lines = |arguments: &[&str]| inspect(&image().bytes(), arguments).output;
    assert_eq!(
        lines(&["sizes"]),
        "code 6 bytes\nread_only 360 bytes\nread_only_without_named 360 bytes\nnamed 0 bytes\nvector_table 64 bytes\n\
         data 0 bytes\nbss 24 bytes\n.uninit 8 bytes\n"
    );
    let without = lines(&["sizes", "--without", "NET"]);
    assert!(without.contains("read_only 360 bytes\nread_only_without_named 50 bytes\nnamed 310 bytes\n"));
    // Named twice, subtracted once.
    assert_eq!(lines(&["sizes", "--without", "NET", "--without", "ALIAS"]), without);
    assert_eq!(
        failure(image(), &["sizes", "--without", "WEIGHTS"]),
        "no static in .rodata is named `WEIGHTS`"
    );
}

#[test]
fn forbid() {
    let image = || {
        Elf::new().function("__aeabi_dmul", A, &LEAF, 24).function("main", B, &LEAF, 24).data("panic_text", 8)
    };
    assert_eq!(inspect(&image().bytes(), &["forbid", "__rust_alloc"]).output, "forbidden 0 symbols\n");
    assert_eq!(
        failure(image(), &["forbid", "__aeabi_d", "panic", "malloc"]),
        "forbidden: __aeabi_dmul (`__aeabi_d`), panic_text (`panic`)"
    );
    // Nothing to see is not nothing there.
    assert_eq!(failure(Elf::new(), &["forbid", "panic"]), "the image has no symbols");
}

#[test]
fn functions() {
    let image =
        Elf::new().function("small", A, &LEAF, 24).assembly("large", B, &[0xbf00, 0xbf00, 0xb5f0, 0xbdf0]);
    let answer = inspect(&image.bytes(), &["functions"]);
    assert_eq!(answer.output, "large 8 bytes 20 bytes_of_stack\nsmall 6 bytes 24 bytes_of_stack\n");
}

#[test]
fn risc_v_has_sizes_only() {
    let image = || {
        let image = Elf::new().machine(RISC_V).function("leaf", A, &[1, 2], 16).assembly("start", B, &[1]);
        image.data("NET", 64)
    };
    assert!(inspect(&image().bytes(), &["sizes"]).output.contains("read_only 64 bytes"));
    assert_eq!(failure(image(), &["forbid", "leaf"]), "forbidden: leaf (`leaf`)");
    assert_eq!(failure(image(), &["stack", "leaf"]), "the stack is followed through Thumb code only");
    let answer = inspect(&image().bytes(), &["functions"]);
    assert_eq!(answer.output, "leaf 4 bytes 16 bytes_of_stack\nstart 2 bytes unknown bytes_of_stack\n");
}

#[test]
fn calls_forward_and_backward() {
    let [first, second] = bl(B + 2, A);
    let [third, fourth] = bl(B + 6, C);
    let image = Elf::new()
        .function("before", A, &LEAF, 24)
        .function("main", B, &[PUSH_R7_LR, first, second, third, fourth, POP_R7_PC], 8)
        .function("behind", C, &[0xb08c, 0xb00c, BX_LR], 48);
    let (bound, path) = stack(image, "main");
    assert_eq!(bound, "main 56 bytes");
    assert_eq!(path, "main 8 -> behind 48");
}

#[test]
fn names_in_part() {
    let image = || Elf::new().function("first_solve", A, &LEAF, 24).function("second", B, &LEAF, 24);
    assert_eq!(stack(image(), "solve").0, "solve 24 bytes");
    assert_eq!(failure(image(), &["stack", "third"]), "no function is named `third`");
    assert_eq!(failure(image(), &["stack", "s"]), "`s` may be any of first_solve, second");
    assert_eq!(
        failure(image(), &["stack", "second", "--allow-indirect", "third"]),
        "no function is named `third`"
    );
}

#[test]
fn stack_sizes_are_needed() {
    let image = Elf::new().assembly("main", A, &LEAF).without_stack_sizes();
    assert_eq!(failure(image, &["stack", "main"]), "the image has no section .stack_sizes");
}

#[test]
fn damaged_stack_sizes() {
    let mut bytes = Elf::new().function("main", A, &LEAF, 24).bytes();
    // The frame's last byte says that another follows, behind the end.
    let entry: Vec<u8> = A.to_le_bytes().into_iter().chain([24 | 0x80, 0]).collect();
    let place = bytes.windows(entry.len()).position(|window| window == entry).unwrap();
    bytes[place + 5] = 0x80;
    let answer = inspect(&bytes, &["stack", "main"]);
    assert_eq!(
        (answer.code, answer.error.as_str()),
        (1, "inspect: .stack_sizes: the entry at byte 0 is damaged\n")
    );
}

#[test]
fn the_compiler_is_never_undercut() {
    let image = Elf::new().function("main", A, &LEAF, 40);
    assert_eq!(stack(image, "main").0, "main 40 bytes");
    // Nor is the code: assembly within a function is not in the compiler's account.
    let image = Elf::new().function("main", A, &LEAF, 8);
    assert_eq!(stack(image, "main").0, "main 24 bytes");
}

#[test]
fn assembly_by_its_code() {
    // push {r4, lr}; vpush {d8}; add; vpop {d8}; pop {r4, pc}
    let image = Elf::new().assembly("main", A, &[0xb510, 0xed2d, 0x8b02, 0x1840, 0xecbd, 0x8b02, 0xbd10]);
    assert_eq!(stack(image, "main").0, "main 16 bytes");
    let image = Elf::new().assembly("leaf", A, &[0x1840, BX_LR]);
    assert_eq!(stack(image, "leaf").0, "leaf 0 bytes");
    // A stack pointer out of memory: ldr r0, [r0]; mov sp, r0; bx lr
    let image = Elf::new().assembly("switch", A, &[0x6800, 0x4685, BX_LR]);
    assert_eq!(
        failure(image, &["stack", "switch"]),
        "switch: its stack pointer cannot be followed, and .stack_sizes has no entry"
    );
}

#[test]
fn a_tail_call_has_the_stack_for_itself() {
    let [first, second] = jump(A + 8, B);
    let code = [PUSH_R7_LR, SUB_SP_24, ADD_SP_24, POP_R7_LR[0], POP_R7_LR[1]];
    let mut code = code.to_vec();
    code.extend(jump(A + 10, B));
    let image = Elf::new().function("main", A, &code, 32).function("last", B, &LEAF, 24);
    assert_eq!(stack(image, "main"), ("main 32 bytes".to_owned(), "main 32".to_owned()));
    // With part of the frame still there, that counts.
    let image = Elf::new()
        .function("main", A, &[PUSH_R7_LR, SUB_SP_24, 0xbf00, 0xbf00, first, second], 32)
        .function("last", B, &LEAF, 24);
    assert_eq!(stack(image, "main"), ("main 56 bytes".to_owned(), "main 32 -> last 24".to_owned()));
}

#[test]
fn a_conditional_tail_call() {
    // cbz r0, +2; b.w; push {r7, lr}; sub sp; add sp; pop {r7, pc}
    let [first, second] = jump(A + 2, B);
    let image = Elf::new()
        .function("main", A, &[0xb108, first, second, PUSH_R7_LR, SUB_SP_24, ADD_SP_24, POP_R7_PC], 32)
        .function("last", B, &[0xb0ff, 0xb07f, BX_LR], 508);
    assert_eq!(stack(image, "main"), ("main 508 bytes".to_owned(), "main 0 -> last 508".to_owned()));
}

#[test]
fn falls_into_the_next_function() {
    let image = Elf::new().assembly("first", A, &[0xbf00, 0xbf00]).assembly("second", A + 4, &LEAF);
    assert_eq!(stack(image, "first"), ("first 24 bytes".to_owned(), "first 0 -> second 24".to_owned()));
    let image = Elf::new().assembly("first", A, &[0xbf00]).assembly("second", A + 4, &LEAF);
    assert_eq!(failure(image, &["stack", "first"]), "first: it runs on into 0x1002, where no code is known");
}

#[test]
fn literal_pools_are_no_code() {
    // ldr r0, [pc, #4]; bx lr; then words that as code would be calls and pushes.
    let image = Elf::new()
        .function("main", A, &[0x4801, BX_LR, 0xf000, 0xf8fe, 0xb5ff, 0xb5ff], 0)
        .mapping("$d", A + 4)
        .function("other", B, &LEAF, 24);
    assert_eq!(stack(image, "main").0, "main 0 bytes");
    // A call that does not come back may stand before one.
    let [first, second] = bl(A + 2, B);
    let image = Elf::new()
        .function("main", A, &[PUSH_R7_LR, first, second, 0xffff, 0xffff], 8)
        .mapping("$d", A + 6)
        .function("forever", B, &[0xe7fe], 0);
    assert_eq!(stack(image, "main").0, "main 8 bytes");
}

#[test]
fn code_behind_a_call_without_return_has_a_depth_of_its_own() {
    // cbz r0, over; push {r7, lr}; bl forever; over: b.w last
    let mut code = vec![0xb110, PUSH_R7_LR];
    code.extend(bl(A + 4, B));
    code.extend(jump(A + 8, C));
    let image = Elf::new()
        .function("main", A, &code, 8)
        .function("forever", B, &[0xe7fe], 0)
        .function("last", C, &LEAF, 24);
    assert_eq!(stack(image, "main").0, "main 24 bytes");
}

#[test]
fn indirect_calls() {
    let [first, second] = bl(A + 2, B);
    let image = || {
        Elf::new().function("main", A, &[PUSH_R7_LR, first, second, POP_R7_PC], 8).function(
            "dispatch",
            B,
            &[PUSH_R7_LR, 0x4798, POP_R7_PC],
            8,
        )
    };
    assert_eq!(
        failure(image(), &["stack", "main"]),
        "indirect call in dispatch, reached by main -> dispatch"
    );
    let answer = inspect(&image().bytes(), &["stack", "main", "--allow-indirect", "dispatch"]);
    assert_eq!((answer.code, answer.output.as_str()), (0, "# main 8 -> dispatch 8\nmain 16 bytes\n"));
    // bx r3; mov pc, r3; ldr pc, [r3]; add pc, r3; pop {pc} of what was never a return address
    for code in [&[0x4718][..], &[0x469f], &[0xf8d3, 0xf000], &[0x449f], &[0xb403, 0xbd01]] {
        let image = Elf::new().function("main", A, code, 8);
        assert_eq!(failure(image, &["stack", "main"]), "indirect call in main", "{code:04x?}");
    }
    // cbz r0, over; bx r3; over: b.w last, which is no table of branches.
    let [first, second] = jump(A + 4, B);
    let image =
        Elf::new().function("main", A, &[0xb100, 0x4718, first, second], 0).function("last", B, &LEAF, 24);
    assert_eq!(failure(image, &["stack", "main"]), "indirect call in main");
}

#[test]
fn pointers_that_are_constants() {
    // movw r3, #0x1101; movt r3, #0; blx r3
    let image = Elf::new()
        .function("main", A, &[PUSH_R7_LR, 0xf241, 0x1301, 0xf2c0, 0x0300, 0x4798, POP_R7_PC], 8)
        .function("last", B, &LEAF, 24);
    assert_eq!(stack(image, "main").0, "main 32 bytes");
    // A linker's veneer: movw r12, movt r12, bx r12; and ldr.w pc, [pc]
    for code in [&[0xf241, 0x1c01, 0xf2c0, 0x0c00, 0x4760][..], &[0xf8df, 0xf000, 0x1101, 0x0000]] {
        let image =
            Elf::new().assembly("veneer", A, code).mapping("$d", A + 0x40).function("last", B, &LEAF, 24);
        assert_eq!(stack(image, "veneer").0, "veneer 24 bytes");
    }
    // A call that may change the register: the pointer is not known any more.
    let mut code = vec![PUSH_R7_LR, 0xf241, 0x1301, 0xf2c0, 0x0300];
    code.extend(bl(A + 10, B));
    code.extend([0x4798, POP_R7_PC]);
    let image = Elf::new().function("main", A, &code, 8).function("last", B, &LEAF, 24);
    assert_eq!(failure(image, &["stack", "main"]), "indirect call in main");
}

#[test]
fn recursion() {
    let [first, second] = bl(A + 2, B);
    let [third, fourth] = bl(B + 2, A);
    let image = || {
        let main = [PUSH_R7_LR, first, second, POP_R7_PC];
        let other = [PUSH_R7_LR, third, fourth, POP_R7_PC];
        Elf::new().function("even", A, &main, 8).function("odd", B, &other, 8)
    };
    assert_eq!(failure(image(), &["stack", "even"]), "recursion: even -> odd -> even");
    // A jump back to the start is a loop, unless the frame is still there.
    let image = Elf::new().function("again", A, &[0xb108, 0xbf00, 0xe7fc, BX_LR], 0);
    assert_eq!(stack(image, "again").0, "again 0 bytes");
    let image = Elf::new().function("again", A, &[PUSH_R7_LR, 0xe7fd], 8);
    assert_eq!(failure(image, &["stack", "again"]), "recursion: again -> again");
}

#[test]
fn tables_of_targets() {
    // tbb [pc, r0]; bytes for two targets and one to fill up; bl last; b; bx lr
    let call = bl(A + 8, B);
    let code = [0xe8df, 0xf000, 0x0502, 0x0000, call[0], call[1], 0xe7fe, BX_LR];
    let image = || {
        let image = Elf::new().function("main", A, &code, 0).mapping("$d", A + 4).mapping("$t", A + 8);
        image.function("last", B, &LEAF, 24)
    };
    assert_eq!(stack(image(), "main").0, "main 24 bytes");
}

#[test]
fn conditional_returns() {
    // push; sub sp; cmp; itt eq; addeq sp; popeq {r7, pc}; add sp; pop.w {r7, lr}; b.w last
    let mut code = vec![PUSH_R7_LR, SUB_SP_24, 0x2800, 0xbf04, ADD_SP_24, POP_R7_PC, ADD_SP_24];
    code.extend(POP_R7_LR);
    code.extend(jump(A + 18, B));
    let image = Elf::new().function("main", A, &code, 32).function("last", B, &LEAF, 24);
    assert_eq!(stack(image, "main").0, "main 32 bytes");
    // The same in two blocks: it eq; addeq sp; it eq; popeq
    code.splice(3..6, [0xbf08, ADD_SP_24, 0xbf08, POP_R7_PC]);
    code.truncate(10);
    code.extend(jump(A + 20, B));
    let image = Elf::new().function("main", A, &code, 32).function("last", B, &LEAF, 24);
    assert_eq!(stack(image, "main").0, "main 32 bytes");
}

#[test]
fn where_no_function_starts() {
    let [first, second] = bl(A + 2, B + 2);
    let image = Elf::new()
        .function("main", A, &[PUSH_R7_LR, first, second, POP_R7_PC], 8)
        .function("other", B, &LEAF, 24);
    assert_eq!(
        failure(image, &["stack", "main"]),
        "main: at 0x1002 it goes to 0x1102, where no function starts"
    );
    // blx into Arm code
    let image = Elf::new().function("main", A, &[0xf000, 0xe800], 0);
    assert_eq!(failure(image, &["stack", "main"]), "main: the instruction at 0x1000 is not known");
}

#[test]
fn code_that_the_compiler_moved_out() {
    // main: push {r7, lr}; sub sp, #24; bl shared; pop {r7, pc}. shared: add sp, #24; bx lr.
    let mut code = vec![PUSH_R7_LR, SUB_SP_24];
    code.extend(bl(A + 4, B));
    code.extend(POP_R7_LR);
    code.extend(jump(A + 12, C));
    let image = Elf::new()
        .function("main", A, &code, 32)
        .function("shared", B, &[ADD_SP_24, BX_LR], 0)
        .function("last", C, &LEAF, 24);
    assert_eq!(stack(image, "main").0, "main 32 bytes");
    // main: push {r7, lr}; sub sp, #24; b.w shared. shared: add sp, #24; pop {r7, pc}.
    let [first, second] = jump(A + 4, B);
    let image = Elf::new().assembly("shared", B, &[ADD_SP_24, POP_R7_PC]).function(
        "main",
        A,
        &[PUSH_R7_LR, SUB_SP_24, first, second],
        32,
    );
    assert_eq!(stack(image, "main").0, "main 32 bytes");
    // main: push {r6, lr}; movw r6; movt r6; bl shared; blx r6; pop {r6, pc}. shared: mov r6, r0; bx lr, against
    // the standard; or with r6 saved, by the standard.
    let mut code = vec![0xb540, 0xf241, 0x2601, 0xf2c0, 0x0600];
    code.extend(bl(A + 10, B));
    code.extend([0x47b0, 0xbd40]);
    let image = |shared: &[u16]| {
        let image = Elf::new().function("main", A, &code, 8).function("shared", B, shared, 8);
        image.function("last", C, &LEAF, 24)
    };
    assert_eq!(failure(image(&[0x4606, BX_LR]), &["stack", "main"]), "indirect call in main");
    assert_eq!(stack(image(&[0xb540, 0x4606, 0xbd40]), "main").0, "main 32 bytes");
}

#[test]
fn frames_rounded_to_more_than_the_standard() {
    // main: push {r4, r6, r7, lr}; add r7, sp, #8; mov r4, sp; bfc r4, #0, #6; mov sp, r4; bl last;
    // sub.w r4, r7, #8; mov sp, r4; pop {r4, r6, r7, pc}
    let mut code = vec![0xb5d0, 0xaf02, 0x466c, 0xf36f, 0x0405, 0x46a5];
    code.extend(bl(A + 12, B));
    code.extend([0xf1a7, 0x0408, 0x46a5, 0xbdd0]);
    // last does the same, from where it is known to lose only what makes up for its 16 bytes.
    let mut last = code.clone();
    last[6..8].copy_from_slice(&[0xbf00, 0xbf00]);
    let image = || Elf::new().function("main", A, &code, 16).function("last", B, &last, 16);
    assert_eq!(stack(image(), "last").0, "last 72 bytes");
    assert_eq!(stack(image(), "main"), ("main 136 bytes".to_owned(), "main 72 -> last 64".to_owned()));
}

/// Painted stacks of `tests/painted`: the bound is never below what was touched, and at most 16 bytes above.
#[test]
fn bounds_hold_on_a_painted_stack() {
    for processor in ["cortex-m4", "cortex-m0"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/painted");
        let image = folder.join(processor).with_extension("elf");
        let image = image.to_str().unwrap();
        let measured = fs::read_to_string(folder.join(processor).with_extension("txt")).unwrap();
        let mut compared = 0;
        for line in measured.lines() {
            let (name, touched) = line.split_once(' ').unwrap();
            let touched: u32 = touched.trim().parse().unwrap();
            let answer = run(&[image, "stack", name]);
            let refused = match name {
                "recursive" => Some("inspect: recursion: recursive -> recursive\n"),
                "through_a_pointer" => Some("inspect: indirect call in through_a_pointer\n"),
                _ => None,
            };
            if let Some(message) = refused {
                assert_eq!((answer.code, answer.error.as_str()), (1, message));
                continue;
            }
            let bound = answer.output.lines().last().unwrap_or_else(|| panic!("{name}: {}", answer.error));
            let bound: u32 = bound.split(' ').nth(1).unwrap().parse().unwrap();
            println!("{processor} {name}: touched {touched}, bound {bound}");
            // Rounded to 64 bytes: the stack pointer may be that much less lucky than it was.
            let slack = if name == "aligned" { 56 } else { 16 };
            assert!((touched..=touched + slack).contains(&bound), "{processor} {name}: {touched}, {bound}");
            compared += 1;
        }
        assert_eq!(compared, 10);
        assert_eq!(run(&[image, "forbid", "__aeabi_d"]).code, 1);
        assert_eq!(run(&[image, "forbid", "__rust_alloc"]).code, 0);
        assert!(run(&[image, "sizes", "--without", "WEIGHTS"]).output.contains("\nnamed 256 bytes\n"));
        // What the compiler's library has in assembly is told by its code.
        assert!(!run(&[image, "functions"]).output.contains("unknown"));
    }
}

/// Whatever the bytes, there is an answer: facts, or one line.
#[test]
fn damaged_images() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/painted");
    let whole = fs::read(folder.join("cortex-m0.elf")).unwrap();
    let mut seed = 1_u32;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize
    };
    for round in 0..120 {
        let mut bytes = whole.clone();
        match round % 3 {
            0 => bytes.truncate(random() % whole.len()),
            1 => (0..40).for_each(|_| bytes[random() % whole.len()] = random() as u8),
            // Headers of sections and the symbols, at the end.
            _ => (0..6).for_each(|_| bytes[whole.len() - 1 - random() % 4000] = random() as u8),
        }
        for arguments in [&["functions"][..], &["stack", "all"], &["sizes", "--without", "WEIGHTS"]] {
            let answer = inspect(&bytes, arguments);
            assert!(
                answer.code == 0 || answer.code == 1 && answer.error.lines().count() == 1,
                "{}",
                answer.error
            );
        }
    }
}
