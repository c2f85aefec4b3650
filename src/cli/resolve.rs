//! Settings -> [`Config`]: checks every value and that they go together.

use std::os::fd::RawFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use log::Level;

use super::config::{
    CacheConfig, Config, FeatureConfig, Listener, LogConfig, MigrationConfig, NofileLimit, Note,
    SandboxConfig,
};
use super::error::UsageError;
use super::option::Id;
use super::setting::BadValue;
use super::settings::Settings;
use super::values::{CacheMode, NegotiationMode, SandboxMode};
use super::{features, ids, modcaps};

/// The longest tag, in bytes (virtio 1.2, section 5.11.4: `tag[36]`).
const TAG_LEN_MAX: usize = 36;

/// Makes the configuration that `settings` ask for.
pub(super) fn resolve(settings: &Settings) -> Result<Config, UsageError> {
    // First, because it is the first thing to say to someone who gave nothing.
    let shared_dir = shared_dir(settings)?;
    let config = Config {
        listener: listener(settings)?,
        shared_dir,
        tag: settings.parsed(Id::Tag, tag)?,
        thread_pool_size: settings.parsed(Id::ThreadPoolSize, pool_size)?.unwrap_or(0),
        rlimit_nofile: nofile_limit(settings)?,
        log: log(settings)?,
        cache: cache(settings)?,
        features: file_system_features(settings)?,
        sandbox: sandbox(settings)?,
        translate_uid: settings.list(Id::TranslateUid, ids::parse_translation)?,
        translate_gid: settings.list(Id::TranslateGid, ids::parse_translation)?,
        migration: migration(settings)?,
        daemonize: settings.switch(Id::Daemonize),
        notes: notes(settings),
    };
    check_id_maps(&config)?;
    check_translation(&config)?;
    Ok(config)
}

fn listener(settings: &Settings) -> Result<Listener, UsageError> {
    let fd = settings.parsed(Id::Fd, fd)?;
    let group = settings.parsed(Id::SocketGroup, |group| Ok(group.to_owned()))?;
    let path = settings.os_text(Id::SocketPath).map(PathBuf::from);
    match (path, fd) {
        (Some(path), None) => Ok(Listener::Socket { path, group }),
        (None, Some(_)) if group.is_some() => Err(UsageError::new(
            "--socket-group",
            "cannot be used with --fd",
            "whoever makes the socket decides who may connect to it",
        )),
        (None, Some(fd)) => Ok(Listener::Fd(fd)),
        (Some(_), Some(_)) => Err(UsageError::new(
            "--fd",
            "cannot be used with --socket-path",
            "use --socket-path to create a socket, --fd for one that a launcher passes on",
        )),
        (None, None) => Err(UsageError::new(
            "--socket-path",
            "no socket given",
            "add --socket-path=PATH, or --fd=N for an inherited socket",
        )),
    }
}

fn shared_dir(settings: &Settings) -> Result<PathBuf, UsageError> {
    let dir = settings.os_text(Id::SharedDir).map(PathBuf::from);
    dir.ok_or_else(|| {
        UsageError::new(
            "--shared-dir",
            "no directory to share given",
            "add --shared-dir=DIR, or -o source=DIR",
        )
    })
}

fn nofile_limit(settings: &Settings) -> Result<NofileLimit, UsageError> {
    Ok(match settings.parsed(Id::RlimitNofile, number)? {
        None => NofileLimit::Default,
        Some(0) => NofileLimit::Unchanged,
        Some(fds) => NofileLimit::Fds(fds),
    })
}

fn log(settings: &Settings) -> Result<LogConfig, UsageError> {
    Ok(LogConfig {
        level: settings.choice_given(Id::LogLevel)?,
        debug: settings.switch(Id::Debug),
        syslog: settings.switch(Id::Syslog),
    })
}

fn cache(settings: &Settings) -> Result<CacheConfig, UsageError> {
    let mode = settings.choice(Id::Cache)?;
    let readdirplus = settings.switch_given(Id::Readdirplus);
    Ok(CacheConfig {
        mode,
        timeout: settings.parsed(Id::Timeout, seconds)?,
        writeback: settings.switch(Id::Writeback),
        allow_mmap: settings.switch(Id::AllowMmap),
        readdirplus: readdirplus.unwrap_or(mode != CacheMode::Never),
    })
}

fn file_system_features(settings: &Settings) -> Result<FeatureConfig, UsageError> {
    let xattrmap = settings.parsed(Id::Xattrmap, |rules| Ok(rules.to_owned()))?;
    let posix_acl = settings.choice(Id::PosixAcl)?;
    let security_label = settings.choice(Id::SecurityLabel)?;
    let needing_xattr = [
        ("--xattrmap", xattrmap.is_some()),
        ("--posix-acl", posix_acl != NegotiationMode::Never),
        ("--security-label", security_label != NegotiationMode::Never),
    ];
    Ok(FeatureConfig {
        readonly: settings.switch(Id::Readonly),
        xattr: xattr(settings, &needing_xattr)?,
        xattrmap,
        posix_acl,
        security_label,
        killpriv_v2: settings.switch(Id::KillprivV2),
        flock: settings.switch(Id::Flock),
        posix_lock: settings.switch(Id::PosixLock),
        announce_submounts: settings.switch(Id::AnnounceSubmounts),
        allow_direct_io: settings.switch(Id::AllowDirectIo),
        preserve_noatime: settings.switch(Id::PreserveNoatime),
        inode_file_handles: settings.choice(Id::InodeFileHandles)?,
    })
}

/// Whether there are extended attributes, given which options need them.
fn xattr(settings: &Settings, needing: &[(&str, bool)]) -> Result<bool, UsageError> {
    let needing = needing.iter().find(|(_, given)| *given);
    match (settings.switch_given(Id::Xattr), needing) {
        (Some(false), Some((option, _))) => Err(UsageError::new(
            *option,
            "needs the extended attributes that no_xattr turns off",
            "leave one of the two out",
        )),
        (given, needing) => Ok(given.unwrap_or(needing.is_some())),
    }
}

fn sandbox(settings: &Settings) -> Result<SandboxConfig, UsageError> {
    Ok(SandboxConfig {
        mode: settings.choice_given(Id::Sandbox)?,
        seccomp: settings.choice_given(Id::Seccomp)?,
        modcaps: settings
            .parsed(Id::Modcaps, modcaps::parse)?
            .unwrap_or_default(),
        uid_map: settings.list(Id::UidMap, ids::parse_mapping)?,
        gid_map: settings.list(Id::GidMap, ids::parse_mapping)?,
        fail_setgroups: settings.switch(Id::FailSetgroups),
    })
}

fn migration(settings: &Settings) -> Result<MigrationConfig, UsageError> {
    Ok(MigrationConfig {
        mode: settings.choice(Id::MigrationMode)?,
        on_error: settings.choice(Id::MigrationOnError)?,
        verify_handles: settings.switch(Id::MigrationVerifyHandles),
        confirm_paths: settings.switch(Id::MigrationConfirmPaths),
    })
}

fn notes(settings: &Settings) -> Vec<Note> {
    let mut notes = features::notes(settings);
    notes.extend(settings.ignored().map(|setting| Note {
        level: Level::Debug,
        text: format!("{}: has no effect", setting.shown()),
    }));
    notes
}

/// Only mode `namespace` makes a user namespace that a map can apply to.
fn check_id_maps(config: &Config) -> Result<(), UsageError> {
    let sandbox = &config.sandbox;
    let mapped = [
        ("--uid-map", &sandbox.uid_map),
        ("--gid-map", &sandbox.gid_map),
    ];
    let mapped = mapped.iter().find(|(_, map)| !map.is_empty());
    match (mapped, sandbox.mode) {
        (Some((option, _)), Some(mode)) if mode != SandboxMode::Namespace => Err(UsageError::new(
            *option,
            "only --sandbox=namespace makes a user namespace",
            "use --sandbox=namespace, or --translate-uid and --translate-gid",
        )),
        _ => check_both_mapped(sandbox),
    }
}

/// With the users or the groups mapped alone there would be one id of the other, so that no request
/// could run as anybody else.
fn check_both_mapped(sandbox: &SandboxConfig) -> Result<(), UsageError> {
    let (given, missing) = match (sandbox.uid_map.is_empty(), sandbox.gid_map.is_empty()) {
        (false, true) => ("--uid-map", "--gid-map"),
        (true, false) => ("--gid-map", "--uid-map"),
        _ => return Ok(()),
    };
    Err(UsageError::new(
        given,
        format!("needs {missing} as well"),
        format!("add {missing}=:INSIDE:OUTSIDE:COUNT: for the other kind of ids"),
    ))
}

/// The ids inside an access control list are not translated.
fn check_translation(config: &Config) -> Result<(), UsageError> {
    let translated = [
        ("--translate-uid", &config.translate_uid),
        ("--translate-gid", &config.translate_gid),
    ];
    let translated = translated.iter().find(|(_, rules)| !rules.is_empty());
    match translated {
        Some((option, _)) if config.features.posix_acl != NegotiationMode::Never => {
            Err(UsageError::new(
                *option,
                "cannot be used with --posix-acl: ids inside an access control list are not translated",
                "leave one of the two out, or map ids with --uid-map and --gid-map",
            ))
        }
        _ => Ok(()),
    }
}

fn tag(text: &str) -> Result<String, BadValue> {
    match text.len() {
        1..=TAG_LEN_MAX if !text.contains('\0') => Ok(text.to_owned()),
        len => Err(BadValue::new(
            format!("{len} bytes are too many"),
            format!("a tag has 1 to {TAG_LEN_MAX} bytes"),
        )),
    }
}

fn fd(text: &str) -> Result<RawFd, BadValue> {
    let fd = text.parse().ok().filter(|fd| *fd >= 0);
    fd.ok_or_else(|| {
        BadValue::new(
            "is not a file descriptor",
            "use the number of an open, listening UNIX socket, such as 3",
        )
    })
}

fn number<T: FromStr>(text: &str) -> Result<T, BadValue> {
    text.parse()
        .map_err(|_| BadValue::new("is not a number", "use a whole number, 0 or more"))
}

/// More threads than this would only wait for each other.
fn pool_size(text: &str) -> Result<usize, BadValue> {
    const MAX: usize = 1024;
    let size = number(text)?;
    match size {
        0..=MAX => Ok(size),
        _ => Err(BadValue::new("is too many threads", "use 1024 at most")),
    }
}

fn seconds(text: &str) -> Result<Duration, BadValue> {
    let secs = text.parse().ok();
    secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok())
        .ok_or_else(|| BadValue::new("is not a time", "use seconds, 0 or more, such as 1.5"))
}
