//! What people do with files, with the same result as on the host.

use std::path::Path;

use crate::lab::{Backing, Lab, assert_alike, scale};
use crate::manifest::{contents, manifest};
use crate::tool::sh;

/// A tree of some thousand files that is on every machine with a C compiler.
const TREE: &str = "/usr/include";

#[test]
fn an_archive_unpacks_to_the_same_tree() {
    let Some(lab) = Lab::on(Backing::Ext4, &["tar", "gcc"]) else {
        return;
    };
    let share = lab.share(&[]);
    sh(lab.scratch(), &format!("tar -C {TREE} -cf tree.tar ."));
    let archive = lab.scratch().join("tree.tar");

    let tree = lab.alike(&share, |place| {
        sh(place, &format!("tar -xf {}", archive.display()));
        manifest(place)
    });

    assert!(tree.len() > 500, "{} files", tree.len());
    let behind = manifest(&lab.shared());
    assert_alike("behind the share", &behind, "through it", &tree);
}

#[test]
fn a_tree_packs_to_the_same_archive() {
    let Some(lab) = Lab::on(Backing::Ext4, &["tar", "gcc"]) else {
        return;
    };
    let share = lab.share(&[]);
    sh(&lab.shared(), &format!("cp -a {TREE}/. ."));
    sh(&lab.host(), "cp -a ../shared/. .");

    let sum = lab.alike(&share, |place| {
        sh(place, "tar --sort=name -cf - --mtime=@0 * | sha256sum")
    });

    assert_eq!(sum.split(' ').next().unwrap().len(), 64);
}

#[test]
fn a_git_repository_is_cloned_and_found_sound() {
    let Some(lab) = Lab::on(Backing::Ext4, &["git"]) else {
        return;
    };
    let share = lab.share(&[]);
    make_repository(lab.scratch());
    let origin = lab.scratch().join("origin");

    let outcome = lab.alike(&share, |place| {
        sh(place, &format!("git clone --quiet --no-hardlinks {} clone", origin.display()));
        let clone = place.join("clone");
        sh(&clone, "git fsck --full --strict 2>/dev/null; git checkout --quiet HEAD~3; git checkout --quiet -; git gc --quiet");
        let state = sh(&clone, "git status --porcelain; git rev-parse HEAD; git count-objects -v | grep -v size");
        (state, sh(&clone, "git ls-files -s | sha256sum"))
    });

    assert!(outcome.0.contains("in-pack:"), "{outcome:?}");
}

fn make_repository(directory: &Path) {
    let script = "
        git init --quiet origin; cd origin
        git config user.name nobody; git config user.email nobody@localhost
        for commit in 1 2 3 4 5 6 7 8 9; do
            mkdir -p directory$commit
            for file in 1 2 3 4 5 6 7 8 9; do seq $commit $((commit * file * 50)) > directory$commit/file$file; done
            git add .; git commit --quiet -m $commit
        done";
    sh(directory, script);
}

#[test]
fn a_c_program_builds_and_runs() {
    let Some(lab) = Lab::on(Backing::Ext4, &["gcc", "make"]) else {
        return;
    };
    let share = lab.share(&[]);

    let output = lab.alike(&share, |place| {
        sh(place, BUILD);
        sh(place, "./program; make -s; find . -type f | sort")
    });

    assert!(output.starts_with("210\n"), "{output}");
}

/// Twenty modules that depend on one header; the program adds up what they return.
const BUILD: &str = r#"
    for n in $(seq 20); do
        echo "int f$n(void);" >> all.h
        printf '#include "all.h"\nint f%s(void) { return %s; }\n' $n $n > f$n.c
    done
    { printf '#include <stdio.h>\n#include "all.h"\nint main(void) { printf("%%d\\n", 0'
      for n in $(seq 20); do printf ' + f%s()' $n; done
      printf '); }\n'; } > main.c
    printf 'program: $(patsubst %%.c,%%.o,$(wildcard *.c))\n\t$(CC) -o $@ $^\n%%.o: %%.c all.h\n\t$(CC) -c $<\n' > Makefile
    make -s -j2"#;

#[test]
fn a_database_survives_ten_thousand_transactions() {
    // On tmpfs, so that they do not wait for a disk.
    let Some(lab) = Lab::on(Backing::Tmpfs, &["sqlite3"]) else {
        return;
    };
    let share = lab.share(&[]);

    for journal in ["delete", "wal"] {
        let script = transactions(journal, 5_000 * scale());
        let outcome = lab.alike(&share, |place| sh(place, &script));

        let rows = (5_000 * scale()).to_string();
        assert_eq!(
            outcome.lines().take(3).collect::<Vec<_>>(),
            [journal, "ok", &rows]
        );
    }
}

/// One insertion and, every tenth time, an update of many rows: each a transaction of its own.
fn transactions(journal: &str, count: u32) -> String {
    format!(
        "{{ echo 'PRAGMA journal_mode = {journal}; CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT);'
           seq {count} | sed 's/.*/INSERT INTO t VALUES (&, printf(\"%0200d\", &));/
               /0;$/s/$/ UPDATE t SET text = text WHERE id % 100 = 1;/'
         }} | sqlite3 {journal}.db
         sqlite3 {journal}.db 'PRAGMA integrity_check; SELECT count(*) FROM t;'
         sqlite3 {journal}.db .dump | sha256sum"
    )
}

/// A tree with everything that copies get wrong.
const ODDITIES: &str = r#"
    mkdir -p dir/sub; echo one > dir/one; ln dir/one dir/sub/same; ln -s ../one dir/sub/link; ln -s nowhere dangling
    mkfifo dir/fifo; mknod dir/null c 1 3; truncate -s 10M sparse; printf end >> sparse; : > empty
    chmod 6755 dir/one; chmod 1777 dir/sub; chmod 000 empty; chown 1000:1001 dir/one; chown -h 7:8 dangling
    touch -d '1969-12-31 23:59:58.123456789 UTC' empty; touch -d '2100-01-02 03:04:05.987654321 UTC' dir/one
    touch -h -d '2001-02-03 04:05:06.7 UTC' dangling; touch -d '2002-03-04 05:06:07.8 UTC' dir/sub"#;

#[test]
fn cp_keeps_everything() {
    let Some(lab) = Lab::on(Backing::Ext4, &["cp"]) else {
        return;
    };
    let share = lab.share(&[]);
    let original = lab.scratch().join("original");
    sh(
        lab.scratch(),
        &format!("mkdir original; cd original; {ODDITIES}"),
    );

    let copy = lab.alike(&share, |place| {
        sh(place, &format!("cp -a {}/. .", original.display()));
        (manifest(place), sh(place, "stat -c %b sparse"))
    });

    let original = manifest(&original);
    assert_alike("original", &original, "copy", &copy.0);
}

#[test]
fn rsync_finds_nothing_left_to_do() {
    let Some(lab) = Lab::on(Backing::Ext4, &["rsync"]) else {
        return;
    };
    let share = lab.share(&[]);
    let original = lab.scratch().join("original");
    sh(
        lab.scratch(),
        &format!("mkdir original; cd original; {ODDITIES}"),
    );
    let rsync = format!(
        "rsync -aHS --checksum --itemize-changes {}/ .",
        original.display()
    );

    let (first, second) = lab.alike(&share, |place| (sh(place, &rsync), sh(place, &rsync)));

    assert!(first.lines().count() > 8, "{first}");
    assert_eq!(second, "");
    assert_eq!(
        contents(&lab.shared()),
        contents(&original),
        "behind the share"
    );
}
