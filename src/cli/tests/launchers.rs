//! The command lines of the programs that start virtiofsd, as they write them.

use super::super::{
    CacheMode, CapabilityChange, Config, IdMapping, IdTranslation, InodeFileHandles, Listener,
    LogLevel, NegotiationMode, NofileLimit, SandboxMode, SeccompAction,
};
use super::{config, defaults};

/// A command line that starts with who writes it, and what it changes in the
/// defaults besides the listener and the directory.
type Launch = (&'static str, &'static [&'static str], fn(&mut Config));

/// The inherited listening socket is fd 3, the directory /d.
const WITH_FD: &[Launch] = &[
    (
        "libvirt 6.2 to 9.0",
        &[
            "--fd=3",
            "-o",
            "source=/d,cache=none,sandbox=chroot,no_xattr,no_flock,no_posix_lock",
        ],
        |c| {
            c.cache.mode = CacheMode::Never;
            c.cache.readdirplus = false;
            c.sandbox.mode = Some(SandboxMode::Chroot);
        },
    ),
    (
        "libvirt 6.2 to 9.0, everything on",
        &[
            "--fd=3",
            "-o",
            "source=/d,cache=always,sandbox=namespace,xattr,flock,posix_lock",
            "--thread-pool-size=4",
            "-d",
        ],
        |c| {
            c.cache.mode = CacheMode::Always;
            c.sandbox.mode = Some(SandboxMode::Namespace);
            c.features.xattr = true;
            c.features.flock = true;
            c.features.posix_lock = true;
            c.thread_pool_size = 4;
            c.log.debug = true;
        },
    ),
    (
        "libvirt 11",
        &[
            "--fd=3",
            "--shared-dir",
            "/d",
            "--cache",
            "never",
            "--sandbox",
            "namespace",
            "--xattr",
            "--thread-pool-size=2",
            "--rlimit-nofile=4096",
            "--log-level",
            "debug",
            "--uid-map=:0:1000:1:",
            "--uid-map=:1:100000:65536:",
            "--gid-map=:0:1000:1:",
            "--readonly",
        ],
        |c| {
            c.cache.mode = CacheMode::Never;
            c.cache.readdirplus = false;
            c.sandbox.mode = Some(SandboxMode::Namespace);
            c.sandbox.uid_map = vec![id_mapping(0, 1000, 1), id_mapping(1, 100_000, 65_536)];
            c.sandbox.gid_map = vec![id_mapping(0, 1000, 1)];
            c.features.xattr = true;
            c.features.readonly = true;
            c.thread_pool_size = 2;
            c.rlimit_nofile = NofileLimit::Fds(4096);
            c.log.level = Some(LogLevel::Debug);
        },
    ),
    (
        "Kata (Go)",
        &[
            "--syslog",
            "--cache=auto",
            "--shared-dir=/d",
            "--fd=3",
            "--thread-pool-size=1",
            "--announce-submounts",
            "--xattr",
        ],
        |c| {
            c.log.syslog = true;
            c.thread_pool_size = 1;
            c.features.xattr = true;
        },
    ),
    (
        "Kata, older",
        &[
            "--fd=3",
            "-o",
            "source=/d",
            "-o",
            "cache=none",
            "--syslog",
            "-o",
            "no_posix_lock",
            "-f",
            "-d",
        ],
        |c| {
            c.cache.mode = CacheMode::Never;
            c.cache.readdirplus = false;
            c.log.syslog = true;
            c.log.debug = true;
        },
    ),
    (
        "mkosi",
        &[
            "--shared-dir",
            "/d",
            "--xattr",
            "--no-announce-submounts",
            "--sandbox=chroot",
            "--inode-file-handles=prefer",
            "--log-level=error",
            "--modcaps=-mknod",
            "--security-label",
            "--fd",
            "3",
        ],
        |c| {
            c.features.xattr = true;
            c.features.announce_submounts = false;
            c.features.inode_file_handles = InodeFileHandles::Prefer;
            c.features.security_label = NegotiationMode::Always;
            c.sandbox.mode = Some(SandboxMode::Chroot);
            c.sandbox.modcaps = vec![dropped(caps::Capability::CAP_MKNOD)];
            c.log.level = Some(LogLevel::Error);
        },
    ),
    (
        "systemd-vmspawn",
        &[
            "--shared-dir",
            "/d",
            "--xattr",
            "--fd",
            "3",
            "--no-announce-submounts",
            "--log-level=error",
            "--modcaps=-mknod",
            "--translate-uid=map:0:65536:65536",
            "--translate-gid=map:0:65536:65536",
        ],
        |c| {
            c.features.xattr = true;
            c.features.announce_submounts = false;
            c.sandbox.modcaps = vec![dropped(caps::Capability::CAP_MKNOD)];
            c.log.level = Some(LogLevel::Error);
            c.translate_uid = vec![id_map_rule(0, 65_536, 65_536)];
            c.translate_gid = vec![id_map_rule(0, 65_536, 65_536)];
        },
    ),
    (
        "Proxmox VE",
        &[
            "--fd=3",
            "--shared-dir=/d",
            "--xattr",
            "--posix-acl",
            "--announce-submounts",
            "--allow-direct-io",
            "--cache=metadata",
            "--syslog",
        ],
        |c| {
            c.features.xattr = true;
            c.features.posix_acl = NegotiationMode::Always;
            c.features.allow_direct_io = true;
            c.cache.mode = CacheMode::Metadata;
            c.log.syslog = true;
        },
    ),
    (
        "Incus",
        &[
            "--fd=3",
            "--cache=never",
            "--shared-dir=/d",
            "--translate-uid=map:0:1000000:65536",
            "--translate-gid=forbid-guest:65536:4294901759",
        ],
        |c| {
            c.cache.mode = CacheMode::Never;
            c.cache.readdirplus = false;
            c.translate_uid = vec![id_map_rule(0, 1_000_000, 65_536)];
            c.translate_gid = vec![IdTranslation::ForbidGuest {
                guest: 65_536,
                count: 4_294_901_759,
            }];
        },
    ),
    (
        "Incus, with access control lists",
        &[
            "--fd=3",
            "--cache=auto",
            "--shared-dir=/d",
            "--posix-acl=auto",
        ],
        |c| {
            c.features.xattr = true;
            c.features.posix_acl = NegotiationMode::Auto;
        },
    ),
    (
        "LXD",
        &[
            "--fd=3",
            "--shared-dir",
            "/d",
            "--cache",
            "auto",
            "--allow-direct-io",
            "--thread-pool-size",
            "16",
            "--xattr",
        ],
        |c| {
            c.features.allow_direct_io = true;
            c.features.xattr = true;
            c.thread_pool_size = 16;
        },
    ),
];

/// The socket is /s, the directory /d.
const WITH_PATH: &[Launch] = &[
    (
        "QEMU's documentation",
        &["--socket-path=/s", "-o", "source=/d", "-o", "cache=always"],
        |c| c.cache.mode = CacheMode::Always,
    ),
    (
        "cloud-hypervisor",
        &[
            "--shared-dir",
            "/d",
            "--socket-path",
            "/s",
            "--cache",
            "never",
            "--tag",
            "myfs",
        ],
        |c| {
            c.cache.mode = CacheMode::Never;
            c.cache.readdirplus = false;
            c.tag = Some("myfs".into());
        },
    ),
    (
        "Kata runtime-rs",
        &[
            "--socket-path",
            "/s",
            "--shared-dir",
            "/d",
            "--cache",
            "auto",
            "--thread-pool-size=1",
            "-o",
            "announce_submounts",
            "--xattr",
        ],
        |c| {
            c.thread_pool_size = 1;
            c.features.xattr = true;
        },
    ),
    (
        "podman machine",
        &[
            "--sandbox",
            "none",
            "--socket-path",
            "/s",
            "--shared-dir",
            ".",
            "--seccomp=none",
        ],
        |c| {
            c.shared_dir = ".".into();
            c.sandbox.mode = Some(SandboxMode::None);
            c.sandbox.seccomp = Some(SeccompAction::None);
        },
    ),
    (
        "Lima",
        &["--socket-path", "/s", "--shared-dir", "/d"],
        |_| (),
    ),
    (
        "virtme-ng",
        &[
            "--syslog",
            "--no-announce-submounts",
            "--posix-acl",
            "--readonly",
            "--socket-path",
            "/s",
            "--shared-dir",
            "/d",
            "--sandbox",
            "none",
            "--cache",
            "always",
        ],
        |c| {
            c.log.syslog = true;
            c.features.announce_submounts = false;
            c.features.xattr = true;
            c.features.posix_acl = NegotiationMode::Always;
            c.features.readonly = true;
            c.sandbox.mode = Some(SandboxMode::None);
            c.cache.mode = CacheMode::Always;
        },
    ),
    (
        "KubeVirt",
        &[
            "--socket-path=/s",
            "--shared-dir=/d",
            "--sandbox=none",
            "--cache=auto",
        ],
        |c| c.sandbox.mode = Some(SandboxMode::None),
    ),
    (
        "crun-vm",
        &[
            "--modcaps=-mknod:-setfcap",
            "--socket-path",
            "/s",
            "--shared-dir",
            "/d",
        ],
        |c| {
            c.sandbox.modcaps = vec![
                dropped(caps::Capability::CAP_MKNOD),
                dropped(caps::Capability::CAP_SETFCAP),
            ];
        },
    ),
];

fn id_mapping(inside: u32, outside: u32, count: u32) -> IdMapping {
    IdMapping {
        inside,
        outside,
        count,
    }
}

fn id_map_rule(guest: u32, host: u32, count: u32) -> IdTranslation {
    IdTranslation::Map { guest, host, count }
}

fn dropped(capability: caps::Capability) -> CapabilityChange {
    CapabilityChange {
        capability,
        keep: false,
    }
}

fn assert_understood(launches: &[Launch], listener: &Listener) {
    for (launcher, argv, change) in launches {
        let mut expected = defaults();
        expected.listener = listener.clone();
        change(&mut expected);

        let mut found = config(argv).unwrap_or_else(|error| panic!("{launcher}: {error}"));

        found.notes.clear();
        assert_eq!(found, expected, "{launcher}");
    }
}

#[test]
fn launchers_that_pass_a_socket_are_understood() {
    assert_understood(WITH_FD, &Listener::Fd(3));
}

#[test]
fn launchers_that_name_a_socket_are_understood() {
    let listener = Listener::Socket {
        path: "/s".into(),
        group: None,
    };

    assert_understood(WITH_PATH, &listener);
}

#[test]
fn libvirt_may_double_the_commas_of_a_path() {
    let found = config(&["--fd=3", "-o", "source=/a,,b,cache=none,xattr"]).unwrap();

    assert_eq!(found.shared_dir.to_str(), Some("/a,b"));
    assert_eq!(found.cache.mode, CacheMode::Never);
    assert!(found.features.xattr);
}

#[test]
fn microvm_nix_is_understood() {
    let found = config(&[
        "--socket-path=/s",
        "--socket-group=kvm",
        "--shared-dir=/d",
        "--rlimit-nofile",
        "1048576",
        "--thread-pool-size",
        "4",
        "--posix-acl",
        "--xattr",
        "--cache=auto",
        "--inode-file-handles=prefer",
        "--tag=store",
        "--readonly",
    ])
    .unwrap();

    let mut expected = defaults();
    expected.listener = Listener::Socket {
        path: "/s".into(),
        group: Some("kvm".into()),
    };
    expected.rlimit_nofile = NofileLimit::Fds(1_048_576);
    expected.thread_pool_size = 4;
    expected.features.xattr = true;
    expected.features.posix_acl = NegotiationMode::Always;
    expected.features.readonly = true;
    expected.tag = Some("store".into());
    expected.notes = found.notes.clone();
    assert_eq!(found, expected);
}
