//! pjdfstest: what POSIX says of each call, some 400 cases.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::lab::{Backing, Lab};
use crate::tool;

/// Everything that pjdfstest can test on Linux. Both users are in every Debian and Ubuntu.
const CONFIG: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
stat_st_birthtime = {}
utime_now = {}
utimensat = {}
secondary_fs = "/dev/shm"
[settings]
naptime = 0.02
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"#;

/// Cases that end otherwise through a share: the case, its outcome on ext4 and through the share, and why.
///
/// `pathconf(3)` tells no link limit of FUSE (glibc knows those of ext4 and a few more by their magic number), so the case does
/// not know how many links to make. `files::a_link_too_many_is_refused_alike` makes them.
const DIFFERENCES: &[(&str, &str, &str)] = &[("link::link_count_max", "ok", "skipped")];

#[test]
fn every_case_ends_alike_on_ext4() {
    compare(Backing::Ext4, &["--cache=auto"], DIFFERENCES);
}

#[test]
fn every_case_ends_alike_without_caching() {
    compare(Backing::Ext4, &["--cache=never"], DIFFERENCES);
}

#[test]
fn every_case_ends_alike_with_all_caching() {
    compare(Backing::Ext4, &["--cache=always"], DIFFERENCES);
}

#[test]
fn every_case_ends_alike_on_tmpfs() {
    compare(Backing::Tmpfs, &["--cache=auto"], &[]);
}

fn compare(backing: Backing, daemon_args: &[&str], expected: &[(&str, &str, &str)]) {
    let Some(lab) = Lab::on(backing, &["pjdfstest"]) else {
        return;
    };
    let share = lab.share(daemon_args);

    // pjdfstest remounts what it runs on, so on the host that is the whole file system.
    let on_host = outcomes(&lab, lab.host().parent().unwrap());
    let through_share = outcomes(&lab, share.path());

    let cases = through_share.keys().chain(on_host.keys());
    let mut differences: Vec<_> = cases
        .map(|case| {
            (
                case.as_str(),
                on_host.get(case).map(String::as_str),
                through_share.get(case).map(String::as_str),
            )
        })
        .filter(|(_, host, share)| host != share)
        .map(|(case, host, share)| (case, host.unwrap_or("missing"), share.unwrap_or("missing")))
        .collect();
    differences.sort_unstable();
    differences.dedup();
    assert_eq!(differences, expected);
    let failed: Vec<_> = through_share
        .iter()
        .filter(|(_, outcome)| *outcome == "FAILED")
        .collect();
    assert!(failed.is_empty(), "on the host too: {failed:?}");
    assert!(
        through_share.len() > 390,
        "only {} cases",
        through_share.len()
    );
}

/// How each case ends. Those that remount the file system read-only run for themselves, since others leave files open.
fn outcomes(lab: &Lab, place: &Path) -> BTreeMap<String, String> {
    let mut all = run(lab, place, false);
    all.extend(run(lab, place, true));
    all
}

fn run(lab: &Lab, place: &Path, remounting: bool) -> BTreeMap<String, String> {
    let config = lab.scratch().join("pjdfstest.toml");
    let setting = format!("[settings]\nallow_remount = {remounting}");
    fs::write(&config, CONFIG.replace("[settings]", &setting)).unwrap();
    let mut args = vec![
        "-c",
        config.to_str().unwrap(),
        "-p",
        place.to_str().unwrap(),
    ];
    args.extend(remounting.then_some("erofs"));
    let report = tool::run(lab.scratch(), "pjdfstest", &args).output;
    assert!(report.contains("Summary: "), "{report}");
    report.lines().filter_map(parse_case).collect()
}

/// `module::case     ok`
fn parse_case(line: &str) -> Option<(String, String)> {
    let (case, outcome) = line.split_once(' ')?;
    let outcome = outcome.trim();
    let is_case = case.contains("::") && ["ok", "FAILED", "skipped"].contains(&outcome);
    is_case.then(|| (case.to_owned(), outcome.to_owned()))
}
