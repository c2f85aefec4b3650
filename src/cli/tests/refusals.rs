//! Command lines that must be refused, and how each is explained.

use super::super::{UsageError, features, settings::Settings};
use super::{args, config};
use args::Parsed;

/// Arguments, then `what` and parts of `cause` and `hint`.
type Refusal = (&'static str, &'static str, &'static str, &'static str);

const INCOMPLETE: &[Refusal] = &[
    ("", "--shared-dir", "no directory", "-o source=DIR"),
    (
        "--shared-dir=/d",
        "--socket-path",
        "no socket given",
        "--fd=N",
    ),
    ("--fd=3", "--shared-dir", "no directory", "-o source=DIR"),
    (
        "--fd=3 --shared-dir",
        "--shared-dir",
        "needs a value",
        "--shared-dir=DIR",
    ),
    (
        "--fd=3 --shared-dir=",
        "--shared-dir",
        "needs a value",
        "--shared-dir=DIR",
    ),
    (
        "--fd=3 -o source=",
        "-o source",
        "needs a value",
        "-o source=DIR",
    ),
    (
        "--cache",
        "--cache",
        "needs a value",
        "auto, always, metadata, never",
    ),
    (
        "-o cache",
        "-o cache",
        "needs a value",
        "auto, always, metadata, never",
    ),
    (
        "--posix-acl=",
        "--posix-acl",
        "needs a value",
        "never, auto, always",
    ),
];

const UNKNOWN: &[Refusal] = &[
    ("--shared", "--shared", "unknown option", "--shared-dir"),
    ("--chache=auto", "--chache", "unknown option", "--cache"),
    ("-x", "-x", "unknown option", "--help"),
    ("-o chache=auto", "-o chache", "unknown option", "-o cache"),
    (
        "-o max-idle-threads=1",
        "-o max-idle-threads",
        "unknown option",
        "-o max_idle_threads",
    ),
    (
        "--max-idle-threads=1",
        "--max-idle-threads",
        "unknown option",
        "--help",
    ),
    ("/d", "/d", "unexpected argument", "--help"),
    ("--xattr=yes", "--xattr", "takes no value", "`--xattr`"),
    ("-o xattr=yes", "-o xattr", "takes no value", "`-o xattr`"),
    ("--posix-acl auto", "auto", "unexpected argument", "--help"),
];

const BAD_VALUES: &[Refusal] = &[
    (
        "--cache=bad",
        "--cache=bad",
        "no such choice",
        "auto, always, metadata, never",
    ),
    (
        "-o cache=bad",
        "-o cache=bad",
        "no such choice",
        "auto, always, metadata, never",
    ),
    (
        "--sandbox=no",
        "--sandbox=no",
        "no such choice",
        "namespace, pivot_root, chroot, none",
    ),
    (
        "--seccomp=off",
        "--seccomp=off",
        "no such choice",
        "none, kill, log, trap",
    ),
    (
        "--posix-acl=maybe",
        "--posix-acl=maybe",
        "no such choice",
        "never, auto, always",
    ),
    (
        "--completions=tcsh",
        "--completions=tcsh",
        "no such choice",
        "bash",
    ),
    ("--fd=-1", "--fd=-1", "not a file descriptor", "such as 3"),
    ("--fd=x", "--fd=x", "not a file descriptor", "such as 3"),
    (
        "--thread-pool-size=-1",
        "--thread-pool-size=-1",
        "not a number",
        "whole number",
    ),
    (
        "--thread-pool-size=1025",
        "--thread-pool-size=1025",
        "too many threads",
        "1024",
    ),
    (
        "--rlimit-nofile=1e6",
        "--rlimit-nofile=1e6",
        "not a number",
        "whole number",
    ),
    ("-o timeout=-1", "-o timeout=-1", "not a time", "seconds"),
    ("-o timeout=inf", "-o timeout=inf", "not a time", "seconds"),
    ("-o timeout=NaN", "-o timeout=NaN", "not a time", "seconds"),
    (
        "--uid-map=0:1:2",
        "--uid-map=0:1:2",
        "separator",
        ":INSIDE:OUTSIDE:COUNT:",
    ),
    (
        "--translate-uid=map:1",
        "--translate-uid=map:1",
        "1 numbers",
        "TYPE:FROM:TO:COUNT",
    ),
    (
        "--modcaps=mknod",
        "--modcaps=mknod",
        "start with + or -",
        "+NAME",
    ),
    (
        "--modcaps=-mknode",
        "--modcaps=-mknode",
        "not a capability",
        "`mknod`",
    ),
];

const CONTRADICTIONS: &[Refusal] = &[
    (
        "--fd=3 --socket-path=/s",
        "--fd",
        "--socket-path",
        "launcher",
    ),
    (
        "--fd=3 --socket-group=g",
        "--socket-group",
        "--fd",
        "who may connect",
    ),
    (
        "--shared-dir=/a -o source=/b",
        "-o source=/b",
        "--shared-dir=/a",
        "keep one",
    ),
    (
        "-o source=/b --shared-dir=/a",
        "--shared-dir=/a",
        "-o source=/b",
        "keep one",
    ),
    ("--fd=3 --fd=4", "--fd=4", "--fd=3", "keep one"),
    (
        "--sandbox=none -o sandbox=chroot",
        "-o sandbox=chroot",
        "--sandbox=none",
        "keep one",
    ),
    (
        "--seccomp=none --seccomp=kill",
        "--seccomp=kill",
        "--seccomp=none",
        "keep one",
    ),
    (
        "--modcaps=-mknod --modcaps=-chown",
        "--modcaps=-chown",
        "--modcaps=-mknod",
        "keep one",
    ),
    (
        "--readonly --no-readonly",
        "--no-readonly",
        "--readonly",
        "keep one",
    ),
    (
        "--xattrmap=:ok:::: --xattrmap=:bad::::",
        "--xattrmap=:bad::::",
        "contradicts",
        "keep one",
    ),
    (
        "--uid-map=:0:0:1: --sandbox=none",
        "--uid-map",
        "namespace",
        "--sandbox=namespace",
    ),
    (
        "--gid-map=:0:0:1: --sandbox=chroot",
        "--gid-map",
        "namespace",
        "--sandbox=namespace",
    ),
    (
        "--uid-map=:0:0:1:",
        "--uid-map",
        "needs --gid-map",
        "add --gid-map",
    ),
    (
        "--gid-map=:0:0:1:",
        "--gid-map",
        "needs --uid-map",
        "add --uid-map",
    ),
    (
        "--posix-acl --translate-uid=map:0:1:1",
        "--translate-uid",
        "--posix-acl",
        "--uid-map",
    ),
    (
        "-o no_xattr --posix-acl",
        "--posix-acl",
        "extended attributes",
        "one of the two",
    ),
    (
        "-o no_xattr,xattrmap=:ok::::",
        "--xattrmap",
        "extended attributes",
        "one of the two",
    ),
];

fn assert_refused(argv: &[&str], (args, what, cause, hint): Refusal) {
    let error = config(argv).expect_err(args);
    assert_eq!(error.what, what, "{args}");
    assert!(error.cause.contains(cause), "{args}: {error}");
    assert!(error.hint.contains(hint), "{args}: {error}");
}

#[test]
fn what_is_incomplete_unknown_or_no_value_is_refused() {
    for refusal in [INCOMPLETE, UNKNOWN].into_iter().flatten() {
        let argv: Vec<_> = refusal.0.split_whitespace().collect();
        assert_refused(&argv, *refusal);
    }
}

#[test]
fn bad_values_and_contradictions_are_refused() {
    for refusal in [BAD_VALUES, CONTRADICTIONS].into_iter().flatten() {
        let mut argv: Vec<_> = refusal.0.split_whitespace().collect();
        if !refusal.0.contains("--fd") {
            argv.push("--fd=3");
        }
        if !refusal.0.contains("source") {
            argv.push("--shared-dir=/d");
        }
        assert_refused(&argv, *refusal);
    }
}

#[test]
fn a_tag_has_1_to_36_bytes() {
    for (len, fits) in [(1, true), (36, true), (37, false)] {
        let tag = format!("--tag={}", "x".repeat(len));
        let found = config(&["--fd=3", "--shared-dir=/d", &tag]);
        assert_eq!(found.is_ok(), fits, "{len} bytes");
    }
}

/// What the daemon says to a command line that asks for a feature.
fn check(args: &str) -> Result<(), UsageError> {
    let argv = ["virtiofsd"].into_iter().chain(args.split_whitespace());
    match args::parse(argv.map(Into::into)).unwrap() {
        Parsed::Settings(settings) => features::check(&Settings::new(settings).unwrap()),
        _ => panic!("not a command line that serves"),
    }
}

#[test]
fn a_feature_that_is_not_there_is_named_as_typed() {
    let table = [
        ("--xattrmap=:ok::::", "--xattrmap=:ok::::"),
        ("-o xattr", "-o xattr"),
        ("--posix-acl", "--posix-acl=always"),
        ("-o flock,no_posix_lock", "-o flock"),
    ];

    for (args, what) in table {
        let error = check(args).expect_err(args);
        assert_eq!(error.what, what, "{args}");
        assert_eq!(error.cause, "not supported yet", "{args}");
    }
}

#[test]
fn not_asking_for_a_feature_in_the_end_is_fine() {
    for args in [
        "-o no_xattr,no_flock,no_posix_lock,no_posix_acl,no_security_label,no_killpriv_v2",
        "-o xattr,no_xattr",
        "--posix-acl --posix-acl=never",
        "--sandbox=none --seccomp=none",
        "--inode-file-handles=mandatory --inode-file-handles=never",
    ] {
        assert_eq!(check(args), Ok(()), "{args}");
    }
}
