//! Nothing stays open in the daemon once the guest has let go of it.

use std::fs::{self, File};
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::{Backing, Lab};
use crate::share::Share;
use crate::tool::sh;

/// Makes the guest's kernel forget all it does not use, until the daemon has `expected` descriptors or the time is over; how many
/// it has then. Forgetting is lazy: the kernel sends FORGETs from a queue.
fn open_after_forgetting(share: &Share, expected: usize) -> usize {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
        let open = share.daemon().open_fds().unwrap();
        if open == expected || Instant::now() > deadline {
            return open;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn none_is_left_after_files_were_used_and_forgotten() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&["--cache=always"]);
    let baseline = share.daemon().open_fds().unwrap();
    let work = "mkdir -p a/b; for n in $(seq 500); do echo $n > a/b/$n; ln -s $n a/$n; done; find . | xargs ls -ld | wc -l; cat a/b/*";

    sh(share.path(), work);
    let used = share.daemon().open_fds().unwrap();
    let left = open_after_forgetting(&share, baseline);

    assert!(used > baseline + 900, "{used} in use");
    assert_eq!(left, baseline);
}

#[test]
fn none_is_left_after_files_were_removed() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&[]);
    let baseline = share.daemon().open_fds().unwrap();

    let held: Vec<File> = (0..100)
        .map(|n| File::create(share.path().join(n.to_string())).unwrap())
        .collect();
    sh(share.path(), "rm *; mkdir d; rmdir d");
    let while_held = share.daemon().open_fds().unwrap();
    drop(held);

    assert!(
        while_held >= baseline + 200,
        "{while_held} for 100 open files"
    );
    assert_eq!(open_after_forgetting(&share, baseline), baseline);
}

#[test]
fn none_is_left_after_calls_that_fail() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&["--cache=never"]);
    let baseline = share.daemon().open_fds().unwrap();
    let failing = "set +e; exec 2> /dev/null; touch f; mkdir -p d/e; for n in $(seq 50); do
        cat none$n; mkdir f; rmdir d; mv d d/e; ln f d; mkdir d/e; mkdir f/e; rm d; ls f/x; done; true";

    sh(share.path(), failing);

    assert_eq!(open_after_forgetting(&share, baseline), baseline);
}

#[test]
fn the_daemon_ends_well_after_the_unmount() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let mut share = lab.share(&[]);
    sh(
        share.path(),
        "mkdir d; for n in $(seq 100); do echo $n > d/$n; done; ls -l d",
    );
    let daemon = share.daemon();

    let status = share.unmount();

    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    assert!(!daemon.is_alive());
    assert_eq!(fs::read_dir(lab.shared().join("d")).unwrap().count(), 100);
}
