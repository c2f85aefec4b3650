//! Mistakes: exit status 2, nothing on stdout, and on stderr what is wrong
//! and, on the line below, what to do.

use super::{virtiofsd, virtiofsd_as_nobody};

/// Arguments and the two lines they must give.
const MISTAKES: &[(&[&str], &str, &str)] = &[
    (
        &[],
        "error: --shared-dir: no directory to share given",
        "add --shared-dir=DIR, or -o source=DIR",
    ),
    (
        &["--shared-dir=/"],
        "error: --socket-path: no socket given",
        "add --socket-path=PATH, or --fd=N for an inherited socket",
    ),
    (
        &["--shared-dir=/", "--fd=3", "--socket-path=/s"],
        "error: --fd: cannot be used with --socket-path",
        "use --socket-path to create a socket, --fd for one that a launcher passes on",
    ),
    (
        &["--shared-dir=/", "--fd=3", "--cache=bad"],
        "error: --cache=bad: no such choice",
        "use one of: auto, always, metadata, never",
    ),
    (
        &["--fd=3", "-o", "source=/,cache=bad"],
        "error: -o cache=bad: no such choice",
        "use one of: auto, always, metadata, never",
    ),
    (
        &["--share-dir=/"],
        "error: --share-dir: unknown option",
        "did you mean `--shared-dir`? `virtiofsd --help` lists all options",
    ),
    (
        &["-o", "source=/,no_xatr"],
        "error: -o no_xatr: unknown option",
        "did you mean `-o no_xattr`? `virtiofsd --help` lists all options",
    ),
    (
        &[
            "--shared-dir=/",
            "--fd=3",
            "--sandbox=none",
            "-o",
            "sandbox=chroot",
        ],
        "error: -o sandbox=chroot: contradicts --sandbox=none given before it",
        "keep one of the two",
    ),
    (
        &[
            "--shared-dir=/",
            "--fd=3",
            "--sandbox=none",
            "--uid-map=:0:1:1:",
        ],
        "error: --uid-map: only --sandbox=namespace makes a user namespace",
        "use --sandbox=namespace, or --translate-uid and --translate-gid",
    ),
    (
        &["--cache=a\nb", "--shared-dir=/", "--fd=3"],
        r"error: --cache=a\nb: no such choice",
        "use one of: auto, always, metadata, never",
    ),
];

#[test]
fn each_mistake_is_two_lines_on_stderr_and_status_2() {
    for (args, what, hint) in MISTAKES {
        for run in [virtiofsd(args), virtiofsd_as_nobody(args)] {
            assert_eq!(run.stderr, format!("{what}\n{hint}\n"), "{args:?}");
            assert_eq!(run.stdout, "", "{args:?}");
            assert_eq!(run.status, Some(2), "{args:?}");
        }
    }
}

#[test]
fn a_feature_that_is_not_there_yet_is_status_2_and_named() {
    let run = virtiofsd(&["--shared-dir=/", "--fd=3", "-o", "daemonize"]);

    assert_eq!(
        run.stderr,
        "error: -o daemonize: not supported yet\nleave it out to start without it\n"
    );
    assert_eq!(run.status, Some(2));
}
