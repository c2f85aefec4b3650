//! Cases about devices and booting: how a share gets into a guest.

use crate::lab::{Daemon, Guest, Lab, host};
use crate::tree;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::process::Command;

pub fn one_daemon_shares_a_directory(lab: &Lab) {
    let share = lab.share("one-daemon");
    let original = share.path.join("original");
    tree::create(&original);
    host(
        Command::new("tar")
            .current_dir(&share.path)
            .args(["-cf", "host.tar", "-C", "original", "."]),
    );
    share.write("hello.txt", "hello from the host\n");
    let daemon = Daemon::start(&share);

    let console = Guest::new(lab, "one-daemon").tag("myfs", &daemon).run(
        r#"
        mount -t virtiofs myfs /mnt
        cd /mnt
        ls -l
        test "$(cat hello.txt)" = "hello from the host"
        echo "hello from the guest" >reply.txt
        mkdir unpacked
        tar -xf host.tar -C unpacked
        tar -cf guest.tar -C unpacked .
        cd unpacked
        find . -type f -print0 | xargs -0 sha256sum >../guest.sums
        cd /
        umount /mnt
        "#,
    );

    assert!(
        console.lines().any(|line| line.ends_with(" hello.txt")),
        "ls shows no hello.txt:\n{console}"
    );
    assert_eq!(share.read("reply.txt"), "hello from the guest\n");
    assert_eq!(share.read("guest.sums").lines().count(), tree::FILES);
    host(Command::new("sha256sum").current_dir(&original).args([
        "--check",
        "--quiet",
        "../guest.sums",
    ]));
    host(Command::new("diff").current_dir(&share.path).args([
        "-r",
        "--no-dereference",
        "original",
        "unpacked",
    ]));
    // Contents, modes, owners and times: in the guest's archive, and as unpacked by it.
    host(Command::new("tar").current_dir(&share.path).args([
        "--compare",
        "-f",
        "guest.tar",
        "-C",
        "original",
    ]));
    host(Command::new("tar").current_dir(&share.path).args([
        "--compare",
        "-f",
        "host.tar",
        "-C",
        "unpacked",
    ]));
    daemon.ends();
}

pub fn guest_users_are_the_mapped_ids_on_the_host(lab: &Lab) {
    let share = lab.share("mapped-ids");
    chown(&share.path, Some(200_000), Some(300_000)).expect("chown the share");
    let maps = ["--uid-map=:0:200000:65536:", "--gid-map=:0:300000:65536:"];
    let daemon = Daemon::start_with(&share, &maps);

    Guest::new(lab, "mapped-ids").tag("myfs", &daemon).run(
        r#"
        mount -t virtiofs myfs /mnt
        echo root >/mnt/by-root
        mkdir -m 0777 /mnt/open
        mkdir -p /etc
        echo user:x:1000:1001::/:/bin/sh >/etc/passwd
        su user -c 'touch /mnt/open/by-user'
        touch /mnt/given
        chown 7:8 /mnt/given
        ! chown 70000:8 /mnt/given
        umount /mnt
        "#,
    );

    let owner = |name: &str| {
        let found = fs::metadata(share.path.join(name)).expect(name);
        (found.uid() - 200_000, found.gid() - 300_000)
    };
    assert_eq!(owner("by-root"), (0, 0));
    assert_eq!(owner("open/by-user"), (1000, 1001));
    assert_eq!(owner("given"), (7, 8));
    daemon.ends();
}

pub fn two_daemons_share_under_two_tags(lab: &Lab) {
    let (left, right) = (lab.share("left"), lab.share("right"));
    left.write("side", "left\n");
    right.write("side", "right\n");
    let (left_daemon, right_daemon) = (Daemon::start(&left), Daemon::start(&right));

    Guest::new(lab, "two-daemons")
        .tag("left", &left_daemon)
        .tag("right", &right_daemon)
        .run(
            r#"
        mkdir /left /right
        mount -t virtiofs left /left
        mount -t virtiofs right /right
        test "$(cat /left/side)" = left
        test "$(cat /right/side)" = right
        cp /left/side /right/from-left
        mv /right/side /left/from-right
        "#,
        );

    assert_eq!(right.read("from-left"), "left\n");
    assert_eq!(left.read("from-right"), "right\n");
    assert!(
        !right.path.join("side").exists(),
        "the moved file is still there"
    );
    left_daemon.ends();
    right_daemon.ends();
}

pub fn listening_socket_is_inherited(lab: &Lab) {
    let share = lab.share("inherited");
    share.write("hello.txt", "hello\n");
    let daemon = Daemon::start_with_fd(&share);

    Guest::new(lab, "inherited").tag("myfs", &daemon).run(
        r#"
        mount -t virtiofs myfs /mnt
        tr a-z A-Z </mnt/hello.txt >/mnt/reply.txt
        "#,
    );

    assert_eq!(share.read("reply.txt"), "HELLO\n");
    daemon.ends();
}

pub fn four_request_queues_work_in_parallel(lab: &Lab) {
    let share = lab.share("four-queues");
    let daemon = Daemon::start(&share);

    // Kernels from 6.10 on pick the queue by processor; older ones set all up and use the first.
    let console = Guest::new(lab, "four-queues")
        .tag("myfs", &daemon)
        .request_queues(4)
        .run(
            r#"
        mount -t virtiofs myfs /mnt
        worker() {
            mkdir /mnt/$1
            cd /mnt/$1
            number=0
            while [ $number -lt 50 ]; do
                echo "worker $1, file $number" >small-$number.new
                mv small-$number.new small-$number
                number=$((number + 1))
            done
            dd if=/dev/urandom of=big bs=256k count=16 2>/dev/null
            sha256sum * >../$1.sums
            cat * | sha256sum >/dev/null
            rm small-1?
        }
        workers=
        for processor in 0 1 2 3; do
            worker $processor &
            taskset -p $((1 << processor)) $! >/dev/null
            workers="$workers $!"
        done
        for worker in $workers; do
            wait $worker
        done
        sed -n 's/.*\(requests\.[0-9]*\)$/queue: \1/p' /proc/interrupts
        "#,
        );

    let queues = console
        .lines()
        .filter(|line| line.starts_with("queue: "))
        .count();
    assert_eq!(queues, 4, "request queues of the guest:\n{console}");
    for worker in ["0", "1", "2", "3"] {
        let sums = share.read(&format!("{worker}.sums"));
        assert_eq!(sums.lines().count(), 51);
        host(
            Command::new("sha256sum")
                .current_dir(share.path.join(worker))
                .args(["--check", "--quiet", "--ignore-missing"])
                .arg(format!("../{worker}.sums")),
        );
        let left = fs::read_dir(share.path.join(worker))
            .expect("list the worker's files")
            .count();
        assert_eq!(left, 41, "files left of worker {worker}");
    }
    daemon.ends();
}

pub fn root_file_system_is_on_the_tag(lab: &Lab) {
    let root = lab.share("root");
    for name in ["bin", "dev", "proc", "sbin", "sys"] {
        fs::create_dir(root.path.join(name)).expect("create a directory");
    }
    fs::copy(lab.busybox(), root.path.join("bin/busybox")).expect("copy busybox");
    for link in ["bin/sh", "bin/mount", "bin/ls", "bin/awk", "bin/poweroff"] {
        symlink("/bin/busybox", root.path.join(link)).expect("create a link");
    }
    root.write(
        "sbin/init",
        r#"#!/bin/sh
        mount -t proc proc /proc
        awk '$2 == "/" && $3 != "rootfs" { print $1, $3 }' /proc/mounts >/root-mount
        ls / >/listing
        echo "guest: exit status $?"
        poweroff -f
        "#,
    );
    host(
        Command::new("chmod")
            .arg("755")
            .arg(root.path.join("sbin/init")),
    );
    let daemon = Daemon::start(&root);

    Guest::new(lab, "root")
        .tag("rootfs", &daemon)
        .kernel_words("rootfstype=virtiofs root=rootfs rw")
        .run_init();

    assert_eq!(root.read("root-mount"), "rootfs virtiofs\n");
    assert_eq!(
        root.read("listing"),
        "bin\ndev\nlisting\nproc\nroot-mount\nsbin\nsys\n"
    );
    daemon.ends();
}

pub fn rebooted_guest_mounts_again(lab: &Lab) {
    let share = lab.share("reboot");
    let daemon = Daemon::start(&share);

    let console = Guest::new(lab, "reboot")
        .tag("myfs", &daemon)
        .may_reboot()
        .run(
            r#"
        mount -t virtiofs myfs /mnt
        if [ ! -e /mnt/first-boot ]; then
            cat /proc/sys/kernel/random/boot_id >/mnt/first-boot
            # Still mounted and with an open file: the device is reset under it.
            exec 3</mnt/first-boot
            sync
            reboot -f
        fi
        cat /proc/sys/kernel/random/boot_id >/mnt/second-boot
        test "$(cat /mnt/first-boot)" != "$(cat /mnt/second-boot)"
        echo "rebooted"
        "#,
        );

    assert!(console.lines().any(|line| line == "rebooted"), "{console}");
    assert_ne!(share.read("first-boot"), share.read("second-boot"));
    daemon.ends();
}
