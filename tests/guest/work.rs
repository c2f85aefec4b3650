//! Cases of real work in a share: programs of a distribution, run in the guest
//! with the share as their root directory, their results checked on the host.

use crate::lab::{Daemon, Guest, Lab, Share, host};
use crate::tree;
use std::fmt::Write;
use std::fs;
use std::process::Command;

/// Runs a script in the guest, with the share as root directory.
fn run_in_share(lab: &Lab, name: &str, share: &Share, script: &str) {
    share.write("script", script);
    let daemon = Daemon::start(share);
    Guest::new(lab, name).tag("myfs", &daemon).run(
        r#"
        mount -t virtiofs myfs /mnt
        mount -t devtmpfs devtmpfs /mnt/dev
        mount -t proc proc /mnt/proc
        chroot /mnt /bin/sh -eu /script
        "#,
    );
    daemon.ends();
}

pub fn c_program_is_built_and_run(lab: &Lab) {
    let share = lab.share_with_programs("build");
    share.write("primes.h", "int count_primes(int limit);\n");
    share.write(
        "primes.c",
        r#"#include "primes.h"
        static int is_prime(int n) {
            for (int d = 2; d * d <= n; d++)
                if (n % d == 0)
                    return 0;
            return n > 1;
        }
        int count_primes(int limit) {
            int count = 0;
            for (int n = 0; n < limit; n++)
                count += is_prime(n);
            return count;
        }"#,
    );
    share.write(
        "main.c",
        r#"#include <stdio.h>
        #include "primes.h"
        int main(void) {
            printf("%d primes\n", count_primes(100000));
            return 0;
        }"#,
    );

    run_in_share(
        lab,
        "build",
        &share,
        r#"
        gcc -O2 -Wall -Werror -c main.c primes.c
        ar rcs libprimes.a primes.o
        gcc -o program main.o -L. -lprimes
        ./program >output
        "#,
    );

    assert_eq!(share.read("output"), "9592 primes\n");
    let on_host = host(&mut lab.run_with_libraries_of(&share.path, &share.path.join("program")));
    assert_eq!(on_host, share.read("output"));
}

pub fn git_clones_and_fsck_is_clean(lab: &Lab) {
    let share = lab.share_with_programs("git");
    share.write(
        "root/.gitconfig",
        "[user]\nname = Someone\nemail = someone@example.org\n[safe]\ndirectory = *\n[gc]\nauto = 0\n",
    );
    let repository = share.path.join("repository");
    let git = |directory: &str, arguments: &[&str]| {
        let mut command = lab.program("usr/bin/git");
        command
            .env("HOME", share.path.join("root"))
            .env("GIT_EXEC_PATH", share.path.join("usr/lib/git-core"))
            .current_dir(share.path.join(directory));
        host(command.args(arguments))
    };
    fs::create_dir(&repository).expect("create the repository's directory");
    git("repository", &["init", "--quiet"]);
    tree::create(&repository);
    git("repository", &["add", "."]);
    for number in 0..20 {
        fs::write(repository.join("counter"), number.to_string()).expect("write a file");
        git("repository", &["add", "counter"]);
        git(
            "repository",
            &[
                "commit",
                "--quiet",
                "--message",
                &format!("commit {number}"),
            ],
        );
    }

    run_in_share(
        lab,
        "git",
        &share,
        r#"
        export HOME=/root
        git clone --quiet repository linked
        git clone --quiet --no-local repository packed
        git -C linked fsck --full --strict
        git -C packed fsck --full --strict
        echo changed >>packed/counter
        git -C packed commit --quiet --all --message "commit of the guest"
        git -C packed push --quiet origin HEAD:refs/heads/from-guest
        "#,
    );

    let head = git("repository", &["rev-parse", "HEAD"]);
    assert_eq!(git("linked", &["rev-parse", "HEAD"]), head);
    assert_eq!(git("packed", &["rev-parse", "HEAD~1"]), head);
    assert_eq!(
        git("repository", &["rev-parse", "from-guest"]),
        git("packed", &["rev-parse", "HEAD"])
    );
    for clone in ["linked", "packed", "repository"] {
        assert_eq!(
            git(clone, &["status", "--porcelain"]),
            "",
            "changes in {clone}"
        );
        git(clone, &["fsck", "--full", "--strict"]);
    }
    host(Command::new("diff").current_dir(&share.path).args([
        "-r",
        "--no-dereference",
        "--exclude=.git",
        // Git keeps no empty directories.
        "--exclude=empty directory",
        "repository",
        "linked",
    ]));
}

pub fn sqlite_keeps_ten_thousand_transactions(lab: &Lab) {
    const TRANSACTIONS: usize = 10_000;
    let share = lab.share_with_programs("sqlite");
    share.write("transactions.sql", &transactions(TRANSACTIONS));

    run_in_share(
        lab,
        "sqlite",
        &share,
        r#"
        sqlite3 -bail test.db <transactions.sql
        sqlite3 -bail test.db 'PRAGMA integrity_check' >check
        "#,
    );

    assert_eq!(share.read("check"), "ok\n");
    let on_host = |query| {
        host(
            lab.program("usr/bin/sqlite3")
                .arg(share.path.join("test.db"))
                .arg(query),
        )
    };
    assert_eq!(on_host("PRAGMA integrity_check"), "ok\n");
    let sum: usize = (0..TRANSACTIONS).sum();
    assert_eq!(
        on_host("SELECT count(*), sum(value) FROM numbers"),
        format!("{TRANSACTIONS}|{sum}\n")
    );
}

/// Each insertion is a transaction of its own. A tenth of them go through a
/// rollback journal, a file created and deleted for each; the others through a
/// write-ahead log with its shared memory map.
fn transactions(count: usize) -> String {
    let mut sql = String::from(
        "PRAGMA synchronous = NORMAL;\n\
         PRAGMA journal_mode = DELETE;\n\
         CREATE TABLE numbers (id INTEGER PRIMARY KEY, value INTEGER, text TEXT);\n\
         CREATE INDEX by_text ON numbers (text);\n",
    );
    for number in 0..count {
        if number == count / 10 {
            sql.push_str("PRAGMA journal_mode = WAL;\n");
        }
        writeln!(
            sql,
            "INSERT INTO numbers VALUES ({number}, {number}, 'text {}');",
            number % 997
        )
        .expect("write to a string");
    }
    sql
}
