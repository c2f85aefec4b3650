//! What prints and exits: needs no privilege, and no other option.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

use super::{Run, virtiofsd, virtiofsd_as_nobody};

/// Runs as nobody, and expects an orderly end without complaints.
fn printed(args: &[&str]) -> String {
    let run = virtiofsd_as_nobody(args);
    assert_eq!(run.stderr, "", "{args:?}");
    assert_eq!(run.status, Some(0), "{args:?}");
    run.stdout
}

#[test]
fn version_is_name_and_number() {
    let expected = concat!("virtiofsd ", env!("CARGO_PKG_VERSION"), "\n");

    assert_eq!(printed(&["--version"]), expected);
    assert_eq!(printed(&["-V"]), expected);
}

#[test]
fn capabilities_are_json_of_a_file_system_with_separate_options() {
    let printed = printed(&["--print-capabilities"]);

    assert!(
        printed.starts_with(r#"{"type":"fs","features":["#),
        "{printed}"
    );
    assert!(printed.ends_with("]}\n"), "{printed}");
    assert!(printed.contains(r#""separate-options""#), "{printed}");
}

#[test]
fn capabilities_do_not_promise_what_is_not_there() {
    let capabilities = printed(&["--print-capabilities"]);

    for (word, option) in [
        ("posix-acl-negotiation-mode", "--posix-acl=auto"),
        ("security-label-negotiation-mode", "--security-label=auto"),
        ("migrate-precopy", "--migration-mode=find-paths"),
    ] {
        // Without a socket that listens, start-up ends for one reason or the other.
        let run = virtiofsd(&["--fd=999", "--shared-dir=/", "--sandbox=none", option]);
        let there = !run.stderr.contains("not supported yet");
        assert_eq!(capabilities.contains(word), there, "{word}: {}", run.stderr);
    }
}

#[test]
fn help_shows_what_launchers_look_for() {
    let help = printed(&["--help"]);

    for option in [
        "--readonly",
        "--shared-dir",
        "--socket-path",
        "--fd",
        "--posix-acl",
    ] {
        assert!(help.contains(option), "{option} is missing:\n{help}");
    }
    assert!(!help.contains('\x1b'), "colours although not on a terminal");
}

#[test]
fn short_help_is_shorter() {
    let short = printed(&["-h"]);
    let long = printed(&["--help"]);

    assert!(short.contains("--readonly"));
    assert!(short.lines().count() * 2 < long.lines().count());
}

#[test]
fn help_goes_before_other_mistakes() {
    let help = printed(&["--sandbox=nonsense", "--fd=x", "--help"]);

    assert_eq!(help, printed(&["--help"]));
}

#[test]
fn capabilities_go_before_other_mistakes() {
    let capabilities = printed(&["--sandbox=nonsense", "--print-capabilities"]);

    assert_eq!(capabilities, printed(&["--print-capabilities"]));
}

#[test]
fn bash_understands_its_completions() {
    let script = printed(&["--completions", "bash"]) + "\ncomplete -p virtiofsd\n";

    let run = fed_to("bash", &["--norc", "-s"], &script);

    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""));
    assert!(run.stdout.contains("virtiofsd"), "{}", run.stdout);
}

#[test]
fn completions_know_options_and_their_words() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["--completions", shell]);
        for word in ["shared-dir", "namespace", "metadata"] {
            assert!(script.contains(word), "{word} is missing for {shell}");
        }
    }
}

#[test]
fn man_page_is_troff_and_names_every_shown_option() {
    let page = printed(&["--man"]);

    assert!(page.contains(".TH virtiofsd 1"), "{page}");
    for option in [
        "shared\\-dir",
        "no\\-announce\\-submounts",
        "print\\-capabilities",
    ] {
        assert!(page.contains(option), "{option} is missing:\n{page}");
    }
}

#[test]
fn a_full_disk_is_reported() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = super::command(env!("CARGO_BIN_EXE_virtiofsd"));

    let run = Run::from(command.arg("--help").stdout(full).output());

    assert_eq!(run.status, Some(1));
    assert!(run.stderr.starts_with("error: stdout: "), "{}", run.stderr);
}

/// Runs `program` with `input` on its stdin.
fn fed_to(program: &str, args: &[&str], input: &str) -> Run {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is installed");
    let mut stdin = child.stdin.take().expect("piped");
    stdin
        .write_all(input.as_bytes())
        .expect("it reads its input");
    drop(stdin);
    Run::from(child.wait_with_output())
}
