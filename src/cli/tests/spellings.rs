//! Every option in every spelling, and the one field it changes.

use std::time::Duration;

use caps::Capability;
use log::Level;

use super::super::{
    CacheMode, CapabilityChange, Config, IdMapping, IdTranslation, InodeFileHandles, Listener,
    LogLevel, MigrationMode, MigrationOnError, NegotiationMode, NofileLimit, SandboxMode,
    SeccompAction,
};
use super::{config, defaults};

/// Arguments separated by spaces, all spellings of the same wish.
type Spellings = &'static [&'static str];
/// What they change in the defaults.
type Change = fn(&mut Config);

const SHARE: &[(Spellings, Change)] = &[
    (&["--tag=myfs", "--tag myfs", "-o tag=myfs"], |c| {
        c.tag = Some("myfs".into())
    }),
    (
        &["--readonly", "-o readonly", "--readonly --readonly"],
        |c| c.features.readonly = true,
    ),
];

const SANDBOX: &[(Spellings, Change)] = &[
    (
        &[
            "--sandbox=namespace",
            "--sandbox namespace",
            "-o sandbox=namespace",
        ],
        |c| c.sandbox.mode = Some(SandboxMode::Namespace),
    ),
    (
        &[
            "--sandbox=pivot_root",
            "-o sandbox=pivot_root",
            "--sandbox=pivot-root",
        ],
        |c| c.sandbox.mode = Some(SandboxMode::PivotRoot),
    ),
    (
        &[
            "--sandbox=chroot",
            "-o sandbox=chroot",
            "--sandbox=chroot -o sandbox=chroot",
        ],
        |c| c.sandbox.mode = Some(SandboxMode::Chroot),
    ),
    (
        &["--sandbox=none", "--sandbox none", "-o sandbox=none"],
        |c| c.sandbox.mode = Some(SandboxMode::None),
    ),
    (&["--seccomp=none", "-o seccomp=none"], |c| {
        c.sandbox.seccomp = Some(SeccompAction::None);
    }),
    (&["--seccomp=kill", "--seccomp kill"], |c| {
        c.sandbox.seccomp = Some(SeccompAction::Kill);
    }),
    (&["--seccomp=log"], |c| {
        c.sandbox.seccomp = Some(SeccompAction::Log);
    }),
    (&["--seccomp=trap"], |c| {
        c.sandbox.seccomp = Some(SeccompAction::Trap);
    }),
    (
        &[
            "--modcaps=+sys_admin:-mknod",
            "-o modcaps=+sys_admin:-mknod",
            "--modcaps +SYS_ADMIN:-cap_mknod",
        ],
        |c| {
            c.sandbox.modcaps = vec![
                change(true, Capability::CAP_SYS_ADMIN),
                change(false, Capability::CAP_MKNOD),
            ];
        },
    ),
    (&["--modcaps=-mknod", "--modcaps -mknod"], |c| {
        c.sandbox.modcaps = vec![change(false, Capability::CAP_MKNOD)];
    }),
    (
        &[
            "--uid-map=:0:1000:1: --uid-map=:1:100000:65536: --gid-map=:0:100:1:",
            "--uid-map :0:1000:1: --uid-map ;1;100000;65536; --gid-map :0:100:1:",
            "-o uid_map=:0:1000:1: --uid-map=:1:100000:65536: -o gid_map=:0:100:1:",
        ],
        |c| {
            c.sandbox.uid_map = vec![mapping(0, 1000, 1), mapping(1, 100_000, 65_536)];
            c.sandbox.gid_map = vec![mapping(0, 100, 1)];
        },
    ),
    (&["--no-fail-setgroups", "-o no_fail_setgroups"], |c| {
        c.sandbox.fail_setgroups = false;
    }),
];

const CACHING: &[(Spellings, Change)] = &[
    (
        &[
            "--cache=auto",
            "-o cache=auto",
            "--cache=always --cache=auto",
        ],
        |c| c.cache.mode = CacheMode::Auto,
    ),
    (
        &["--cache=always", "--cache always", "-o cache=always"],
        |c| {
            c.cache.mode = CacheMode::Always;
        },
    ),
    (&["--cache=metadata", "-o cache=metadata"], |c| {
        c.cache.mode = CacheMode::Metadata;
    }),
    (
        &[
            "--cache=never",
            "--cache=none",
            "-o cache=never",
            "-o cache=none",
        ],
        |c| {
            c.cache.mode = CacheMode::Never;
            c.cache.readdirplus = false;
        },
    ),
    (
        &["--cache=never --readdirplus", "-o cache=none,readdirplus"],
        |c| c.cache.mode = CacheMode::Never,
    ),
    (&["--no-readdirplus", "-o no_readdirplus"], |c| {
        c.cache.readdirplus = false;
    }),
    (&["-o timeout=1.5", "--timeout=1.5"], |c| {
        c.cache.timeout = Some(Duration::from_millis(1500));
    }),
    (&["-o timeout=0"], |c| {
        c.cache.timeout = Some(Duration::ZERO)
    }),
    (
        &["--writeback", "-o writeback", "-o no_writeback,writeback"],
        |c| c.cache.writeback = true,
    ),
    (&["--allow-mmap", "-o allow_mmap"], |c| {
        c.cache.allow_mmap = true;
    }),
    (&["--allow-direct-io", "-o allow_direct_io"], |c| {
        c.features.allow_direct_io = true;
    }),
];

const FEATURES: &[(Spellings, Change)] = &[
    (
        &[
            "--xattr",
            "-o xattr",
            "-o no_xattr,xattr",
            "-o no_xattr --xattr",
        ],
        |c| c.features.xattr = true,
    ),
    (
        &[
            "--xattrmap=:map::user.virtiofs.:",
            "--xattrmap :map::user.virtiofs.:",
            "-o xattrmap=:map::user.virtiofs.:",
        ],
        |c| {
            c.features.xattr = true;
            c.features.xattrmap = Some(":map::user.virtiofs.:".into());
        },
    ),
    (
        &[
            "--posix-acl",
            "--posix-acl=always",
            "-o posix_acl",
            "-o posix_acl=always",
        ],
        |c| {
            c.features.xattr = true;
            c.features.posix_acl = NegotiationMode::Always;
        },
    ),
    (&["--posix-acl=auto", "-o posix_acl=auto"], |c| {
        c.features.xattr = true;
        c.features.posix_acl = NegotiationMode::Auto;
    }),
    (
        &[
            "--security-label",
            "--security-label=always",
            "-o security_label",
        ],
        |c| {
            c.features.xattr = true;
            c.features.security_label = NegotiationMode::Always;
        },
    ),
    (&["--security-label=auto"], |c| {
        c.features.xattr = true;
        c.features.security_label = NegotiationMode::Auto;
    }),
    (
        &[
            "--killpriv-v2",
            "-o killpriv_v2",
            "--no-killpriv-v2 --killpriv-v2",
        ],
        |c| c.features.killpriv_v2 = true,
    ),
    (&["-o flock", "--flock"], |c| c.features.flock = true),
    (&["-o posix_lock", "--posix-lock"], |c| {
        c.features.posix_lock = true;
    }),
    (
        &["--no-announce-submounts", "-o no_announce_submounts"],
        |c| c.features.announce_submounts = false,
    ),
    (
        &["--inode-file-handles=never", "--inode-file-handles never"],
        |c| {
            c.features.inode_file_handles = InodeFileHandles::Never;
        },
    ),
    (&["--inode-file-handles=mandatory"], |c| {
        c.features.inode_file_handles = InodeFileHandles::Mandatory;
    }),
    (&["--preserve-noatime"], |c| {
        c.features.preserve_noatime = true
    }),
];

/// What asks for the defaults changes nothing.
const DEFAULTS: &[(Spellings, Change)] = &[(
    &[
        "",
        "--no-readonly",
        "--fail-setgroups",
        "--readdirplus",
        "-o readdirplus",
        "--no-writeback",
        "-o no_writeback",
        "-o writeback,no_writeback",
        "-o no_allow_direct_io",
        "-o no_xattr",
        "-o xattr,no_xattr",
        "--xattr -o no_xattr",
        "--posix-acl=never",
        "-o no_posix_acl",
        "-o posix_acl,no_posix_acl",
        "--security-label=never",
        "-o no_security_label",
        "--no-killpriv-v2",
        "-o no_killpriv_v2",
        "-o no_flock,no_posix_lock",
        "--announce-submounts",
        "-o announce_submounts",
        "--inode-file-handles=prefer",
        "--inode-file-handles=fallback",
        "--thread-pool-size=0",
        "--migration-mode=find-paths",
        "--migration-on-error=abort",
        "-f",
        "-o allow_root,max_idle_threads=4,fsname=x,subtype=y",
    ],
    |_| (),
)];

const IDS: &[(Spellings, Change)] = &[
    (
        &[
            "--translate-uid=map:0:1000:1 --translate-uid=forbid-guest:1:65535",
            "--translate-uid map:0:1000:1 -o translate_uid=forbid-guest:1:65535",
        ],
        |c| {
            c.translate_uid = vec![
                IdTranslation::Map {
                    guest: 0,
                    host: 1000,
                    count: 1,
                },
                IdTranslation::ForbidGuest {
                    guest: 1,
                    count: 65_535,
                },
            ];
        },
    ),
    (&["--translate-gid=squash-host:0:7:100"], |c| {
        c.translate_gid = vec![IdTranslation::SquashHost {
            host: 0,
            guest: 7,
            count: 100,
        }];
    }),
];

const RESOURCES: &[(Spellings, Change)] = &[
    (&["--thread-pool-size=4", "--thread-pool-size 4"], |c| {
        c.thread_pool_size = 4;
    }),
    (
        &["--rlimit-nofile=1048576", "--rlimit-nofile 1048576"],
        |c| {
            c.rlimit_nofile = NofileLimit::Fds(1_048_576);
        },
    ),
    (&["--rlimit-nofile=0"], |c| {
        c.rlimit_nofile = NofileLimit::Unchanged;
    }),
];

const PROCESS: &[(Spellings, Change)] = &[
    (
        &[
            "--log-level=debug",
            "--log-level DEBUG",
            "-o log_level=debug",
            "-o loglevel=debug",
        ],
        |c| c.log.level = Some(LogLevel::Debug),
    ),
    (&["--log-level=error", "-o log_level=err"], |c| {
        c.log.level = Some(LogLevel::Error);
    }),
    (&["--log-level=off"], |c| c.log.level = Some(LogLevel::Off)),
    (
        &["--log-level=warn", "--log-level=trace --log-level=warn"],
        |c| {
            c.log.level = Some(LogLevel::Warn);
        },
    ),
    (&["--log-level=info"], |c| {
        c.log.level = Some(LogLevel::Info)
    }),
    (&["--log-level=trace"], |c| {
        c.log.level = Some(LogLevel::Trace)
    }),
    (&["-d", "-o debug", "-f -d", "-fd"], |c| c.log.debug = true),
    (&["--syslog", "-o syslog"], |c| c.log.syslog = true),
    (&["--daemonize"], |c| c.daemonize = true),
];

const MIGRATION: &[(Spellings, Change)] = &[
    (&["--migration-mode=file-handles"], |c| {
        c.migration.mode = MigrationMode::FileHandles;
    }),
    (&["--migration-on-error=guest-error"], |c| {
        c.migration.on_error = MigrationOnError::GuestError;
    }),
    (&["--migration-verify-handles"], |c| {
        c.migration.verify_handles = true;
    }),
    (&["--migration-confirm-paths"], |c| {
        c.migration.confirm_paths = true;
    }),
];

fn change(keep: bool, capability: Capability) -> CapabilityChange {
    CapabilityChange { capability, keep }
}

fn mapping(inside: u32, outside: u32, count: u32) -> IdMapping {
    IdMapping {
        inside,
        outside,
        count,
    }
}

/// Adds what every command line needs.
fn config_with(args: &str) -> Config {
    let mut argv = vec!["--fd=3", "--shared-dir=/d"];
    argv.extend(args.split_whitespace());
    config(&argv).unwrap_or_else(|error| panic!("{args}: {error}"))
}

#[test]
fn every_spelling_changes_its_field_and_no_other() {
    let tables = [
        SHARE, SANDBOX, CACHING, FEATURES, DEFAULTS, IDS, RESOURCES, PROCESS, MIGRATION,
    ];
    for (spellings, change) in tables.into_iter().flatten() {
        let mut expected = defaults();
        change(&mut expected);
        for args in *spellings {
            let mut found = config_with(args);
            found.notes.clear();
            assert_eq!(found, expected, "{args}");
        }
    }
}

#[test]
fn every_option_of_the_table_is_tried() {
    let tables = [
        SHARE, SANDBOX, CACHING, FEATURES, DEFAULTS, IDS, RESOURCES, PROCESS, MIGRATION,
    ];
    let tried: Vec<&str> = tables
        .into_iter()
        .flatten()
        .flat_map(|(spellings, _)| spellings.iter())
        .flat_map(|args| args.split([' ', ',', '=']))
        .collect();
    let listeners = [
        "shared-dir",
        "fd",
        "socket-path",
        "socket-group",
        "foreground",
    ];

    for option in super::super::table::options() {
        let long = format!("--{}", option.shown());
        let known = tried.contains(&long.as_str()) || tried.contains(&option.word().as_str());
        assert!(known || listeners.contains(&option.name), "{}", option.name);
    }
}

#[test]
fn the_socket_has_many_names() {
    let expected = Listener::Socket {
        path: "/s".into(),
        group: None,
    };
    let table: &[&[&str]] = &[
        &["--socket-path=/s", "--shared-dir=/d"],
        &["--socket-path", "/s", "--shared-dir", "/d"],
        &["--socket=/s", "-o", "source=/d"],
        &["-o", "vhost_user_socket=/s,source=/d"],
        &[
            "--socket-path=/s",
            "--socket=/s",
            "--shared-dir=/d",
            "-osource=/d",
        ],
    ];

    for argv in table {
        let found = config(argv).unwrap();
        assert_eq!(found.listener, expected, "{argv:?}");
        assert_eq!(found.shared_dir, defaults().shared_dir, "{argv:?}");
    }
}

#[test]
fn the_socket_may_have_a_group() {
    let found = config(&["--socket-path=/s", "--socket-group=kvm", "--shared-dir=/d"]).unwrap();

    let expected = Listener::Socket {
        path: "/s".into(),
        group: Some("kvm".into()),
    };
    assert_eq!(found.listener, expected);
}

#[test]
fn a_path_may_hold_commas_in_both_spellings() {
    for source in ["source=/a,,b", r"source=/a\,b"] {
        let found = config(&["--fd=3", "-o", source]).unwrap();
        assert_eq!(found.shared_dir.to_str(), Some("/a,b"), "{source}");
    }
}

#[test]
fn words_without_effect_leave_a_note() {
    let notes = config_with("-f -o allow_root,max_idle_threads=4").notes;

    let texts: Vec<_> = notes.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "--foreground: has no effect",
            "-o allow_root: has no effect",
            "-o max_idle_threads=4: has no effect"
        ]
    );
    assert!(notes.iter().all(|note| note.level == Level::Debug));
}

#[test]
fn what_can_be_done_without_leaves_a_note_only_when_asked_for() {
    let asked = config_with("--inode-file-handles=fallback").notes;
    let not_asked = config_with("--inode-file-handles=never").notes;

    let texts: Vec<_> = asked.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "--inode-file-handles=fallback: file handles are not supported yet; inodes are kept as file descriptors",
        ]
    );
    assert!(asked.iter().all(|note| note.level == Level::Info));
    assert_eq!(not_asked, []);
}
