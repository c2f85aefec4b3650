//! A guest that uses every operation there is, for what is to be seen of the daemon meanwhile.

use frontend::fuse::{CopyFileRangeIn, SetattrIn, setattr_valid};
use frontend::{Caller, Client, ROOT_ID};

/// Runs each operation at least once, as `caller` where that matters.
pub fn every_operation(client: &mut Client, caller: Caller) {
    client.caller = caller;
    names(client);
    files(client);
    attributes(client);
    directories(client);
}

fn names(client: &mut Client) {
    let dir = client.mkdir(ROOT_ID, "dir", 0o755).expect("mkdir").nodeid;
    let (file, open) = client
        .create(dir, "file", libc::O_RDWR, 0o644)
        .expect("create");
    client.release(file.nodeid, open.fh).expect("release");
    client.link(file.nodeid, dir, "link").expect("link");
    client.symlink(dir, "symlink", "file").expect("symlink");
    let symlink = client.lookup(dir, "symlink").expect("lookup").nodeid;
    assert_eq!(client.readlink(symlink).expect("readlink"), b"file");
    client
        .mknod(dir, "fifo", libc::S_IFIFO | 0o644, 0)
        .expect("mknod");
    client.rename(dir, "link", dir, "moved").expect("rename");
    client
        .rename2(dir, "moved", dir, "fifo", libc::RENAME_EXCHANGE)
        .expect("rename2");
    for name in ["fifo", "moved", "symlink", "file"] {
        client.unlink(dir, name).expect("unlink");
    }
    client.forget(file.nodeid, 2);
    client.batch_forget(&[(symlink, 2)]);
    client.rmdir(ROOT_ID, "dir").expect("rmdir");
}

fn files(client: &mut Client) {
    let (file, open) = client
        .create(ROOT_ID, "data", libc::O_RDWR, 0o644)
        .expect("create");
    let (node, fh) = (file.nodeid, open.fh);
    assert_eq!(client.write(node, fh, 0, b"some data"), Ok(9));
    assert_eq!(client.read(node, fh, 5, 100).expect("read"), b"data");
    client.fallocate(node, fh, 0, 4096, 0).expect("fallocate");
    client.lseek(node, fh, 0, libc::SEEK_DATA).expect("lseek");
    let copy = CopyFileRangeIn {
        fh_in: fh,
        nodeid_out: node,
        fh_out: fh,
        off_out: 8192,
        len: 4,
        ..CopyFileRangeIn::default()
    };
    client.copy_file_range(node, &copy).expect("copy");
    client.fsync(node, fh, false).expect("fsync");
    client.fsync(node, fh, true).expect("fdatasync");
    client.flush(node, fh).expect("flush");
    client.release(node, fh).expect("release");
    client.syncfs(node).expect("syncfs");
    let again = client.open(node, libc::O_RDONLY).expect("open");
    client.release(node, again.fh).expect("release");
    if let Ok((temporary, open)) = client.tmpfile(ROOT_ID, libc::O_RDWR, 0o600) {
        client.release(temporary.nodeid, open.fh).expect("release");
    }
}

fn attributes(client: &mut Client) {
    let file = client.lookup(ROOT_ID, "data").expect("lookup");
    let (node, attr) = (file.nodeid, file.attr);
    client.getattr(node).expect("getattr");
    client.statx(node, libc::STATX_BASIC_STATS).expect("statx");
    client.chmod(node, 0o644).expect("chmod");
    client.chown(node, attr.uid, attr.gid).expect("chown");
    client.truncate(node, 5).expect("truncate");
    let times = SetattrIn {
        valid: setattr_valid::ATIME | setattr_valid::MTIME | setattr_valid::MTIME_NOW,
        atime: 1,
        ..SetattrIn::default()
    };
    client.setattr(node, &times).expect("utimens");
    client.access(node, libc::R_OK as u32).expect("access");
    client.statfs(ROOT_ID).expect("statfs");
}

fn directories(client: &mut Client) {
    client.list(ROOT_ID).expect("readdir");
    let fh = client.opendir(ROOT_ID).expect("opendir").fh;
    client.readdirplus(ROOT_ID, fh, 0, 4096).expect("plus");
    client.readdir(ROOT_ID, fh, 0, 4096).expect("rewind");
    client.fsyncdir(ROOT_ID, fh, false).expect("fsyncdir");
    client.releasedir(ROOT_ID, fh).expect("releasedir");
    client.unlink(ROOT_ID, "data").expect("unlink");
}
