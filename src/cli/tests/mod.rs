//! Command lines and the configurations they must become, without regard to
//! what the daemon can do yet.

mod launchers;
mod refusals;
mod spellings;

use std::ffi::OsString;
use std::path::PathBuf;

use super::args::{self, Parsed};
use super::settings::Settings;
use super::values::{
    CacheMode, InodeFileHandles, MigrationMode, MigrationOnError, NegotiationMode,
};
use super::{
    CacheConfig, Config, FeatureConfig, Listener, LogConfig, MigrationConfig, NofileLimit,
    SandboxConfig, UsageError, resolve,
};

/// What a command line asks for, with its notes.
fn config(argv: &[&str]) -> Result<Config, UsageError> {
    let argv = std::iter::once("virtiofsd").chain(argv.iter().copied());
    match args::parse(argv.map(OsString::from))? {
        Parsed::Settings(settings) => resolve::resolve(&Settings::new(settings)?),
        _ => panic!("not a command line that serves"),
    }
}

/// What `--fd=3 --shared-dir=/d` asks for: every default, written out.
fn defaults() -> Config {
    Config {
        listener: Listener::Fd(3),
        shared_dir: PathBuf::from("/d"),
        tag: None,
        thread_pool_size: 0,
        rlimit_nofile: NofileLimit::Default,
        log: LogConfig {
            level: None,
            debug: false,
            syslog: false,
        },
        cache: CacheConfig {
            mode: CacheMode::Auto,
            timeout: None,
            writeback: false,
            allow_mmap: false,
            readdirplus: true,
        },
        features: FeatureConfig {
            readonly: false,
            xattr: false,
            xattrmap: None,
            posix_acl: NegotiationMode::Never,
            security_label: NegotiationMode::Never,
            killpriv_v2: false,
            flock: false,
            posix_lock: false,
            announce_submounts: true,
            allow_direct_io: false,
            preserve_noatime: false,
            inode_file_handles: InodeFileHandles::Prefer,
        },
        sandbox: SandboxConfig {
            mode: None,
            seccomp: None,
            modcaps: Vec::new(),
            uid_map: Vec::new(),
            gid_map: Vec::new(),
            fail_setgroups: true,
        },
        translate_uid: Vec::new(),
        translate_gid: Vec::new(),
        migration: MigrationConfig {
            mode: MigrationMode::FindPaths,
            on_error: MigrationOnError::Abort,
            verify_handles: false,
            confirm_paths: false,
        },
        daemonize: false,
        notes: Vec::new(),
    }
}

#[test]
fn the_definition_is_sound_to_clap() {
    args::command().debug_assert();
}
