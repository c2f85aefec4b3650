//! Listing large directories.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::thread;

use crate::lab::{Backing, Lab};
use crate::tool::sh;

const ENTRIES: usize = 20_000;

fn fill(directory: &Path) {
    sh(
        directory,
        &format!("mkdir large; cd large; seq -f 'entry-%.0f' {ENTRIES} | xargs touch"),
    );
}

fn list(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory.join("large")).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn each_entry_is_listed_once(backing: Backing, daemon_args: &[&str]) {
    let Some(lab) = Lab::on(backing, &[]) else {
        return;
    };
    let share = lab.share(daemon_args);
    fill(&lab.shared());

    let (listed, again) = (list(share.path()), list(share.path()));

    assert_eq!(listed.len(), ENTRIES);
    assert_eq!(listed.iter().collect::<HashSet<_>>().len(), ENTRIES);
    assert_eq!(again, listed);
}

#[test]
fn each_entry_of_a_large_directory_is_listed_once_on_ext4() {
    each_entry_is_listed_once(Backing::Ext4, &[]);
}

#[test]
fn each_entry_of_a_large_directory_is_listed_once_on_tmpfs() {
    each_entry_is_listed_once(Backing::Tmpfs, &["--cache=never"]);
}

#[test]
fn each_entry_of_a_large_directory_is_listed_once_without_readdirplus() {
    each_entry_is_listed_once(Backing::Ext4, &["--no-readdirplus"]);
}

#[test]
fn each_entry_of_a_large_directory_is_listed_once_from_the_cache() {
    each_entry_is_listed_once(Backing::Ext4, &["--cache=always"]);
}

#[test]
fn a_listing_with_attributes_has_the_right_ones() {
    let Some(lab) = Lab::on(Backing::Ext4, &["perl"]) else {
        return;
    };
    let share = lab.share(&[]);

    let listing = lab.alike(&share, |place| {
        sh(place, "mkdir d; cd d; for n in $(seq 300); do printf %${n}s > $n; chmod $((n % 8))44 $n; done");
        sh(place, "ls -ln --time-style=+ d")
    });

    assert_eq!(listing.lines().count(), 301);
}

#[test]
fn a_program_can_go_back_to_where_it_was_in_a_directory() {
    let Some(lab) = Lab::on(Backing::Ext4, &["perl"]) else {
        return;
    };
    for cache in ["--cache=auto", "--cache=always"] {
        let share = lab.share(&[cache]);
        sh(&lab.shared(), "rm -rf large");
        fill(&lab.shared());
        let program = r#"
            opendir(D, "large") or die; my (@names, @places);
            while (1) { push @places, telldir(D); defined(my $name = readdir(D)) or last; push @names, $name; }
            for (my $i = $#names; $i >= 0; $i -= 97) { seekdir(D, $places[$i]); readdir(D) eq $names[$i] or die "at $i" }
            rewinddir(D); readdir(D) eq $names[0] or die "at the start";
            seekdir(D, $places[$#places]); defined(readdir(D)) and die "at the end";
            print scalar(@names);"#;

        let count = sh(share.path(), &format!("perl -e '{program}'"));

        assert_eq!(count, (ENTRIES + 2).to_string(), "{cache}: with the dots");
    }
}

#[test]
fn what_stays_is_listed_while_others_come_and_go() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&["--cache=never"]);
    let directory = lab.shared().join("large");
    fs::create_dir(&directory).unwrap();
    (0..500).for_each(|n| fs::write(directory.join(format!("stays-{n}")), "").unwrap());
    let done = std::sync::atomic::AtomicBool::new(false);
    let churn = || {
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            (0..300).for_each(|n| fs::write(directory.join(format!("goes-{n}")), "").unwrap());
            (0..300).for_each(|n| fs::remove_file(directory.join(format!("goes-{n}"))).unwrap());
        }
    };

    let counts: Vec<usize> = thread::scope(|scope| {
        scope.spawn(churn);
        let count = |_| {
            list(share.path())
                .iter()
                .filter(|name| name.starts_with("stays-"))
                .count()
        };
        let counts = (0..200).map(count).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        counts
    });

    assert_eq!(counts, [500; 200]);
}

#[test]
fn a_large_directory_is_removed_completely() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&[]);
    fill(&lab.shared());

    sh(share.path(), "rm -r large");

    assert_eq!(fs::read_dir(lab.shared()).unwrap().count(), 0);
}

#[test]
fn an_open_directory_that_was_removed_is_empty() {
    let Some(lab) = Lab::on(Backing::Ext4, &["perl"]) else {
        return;
    };
    let share = lab.share(&[]);
    let program = r#"mkdir "d"; opendir(D, "d") or die; rmdir("d") or die; my @names = readdir(D); print scalar(@names), -e "d" ? 1 : 0;
        mkdir "d/sub" and die; chdir("d") and die;"#;

    lab.alike(&share, |place| sh(place, &format!("perl -e '{program}'")));
}
