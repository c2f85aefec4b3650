//! Requests about names: look up, make, link, move and remove.

use super::{Client, Request, Result, c_name};
use crate::fuse::{
    CreateIn, CreateOut, EntryOut, LinkIn, MkdirIn, MknodIn, OpenOut, Rename2In, RenameIn, opcode,
};

impl Client {
    /// LOOKUP of one name. `nodeid` 0 in the reply is a negative entry.
    pub fn lookup(&mut self, parent: u64, name: impl AsRef<[u8]>) -> Result<EntryOut> {
        self.ask(Request::new(
            opcode::LOOKUP,
            parent,
            &[name.as_ref(), b"\0"],
        ))
    }

    /// LOOKUP of each component of a path with slashes, from the root.
    pub fn walk(&mut self, path: &str) -> Result<EntryOut> {
        let mut entry = EntryOut {
            nodeid: crate::fuse::ROOT_ID,
            ..EntryOut::default()
        };
        for name in path.split('/').filter(|name| !name.is_empty()) {
            entry = self.lookup(entry.nodeid, name)?;
        }
        Ok(entry)
    }

    /// MKNOD with a mode that includes the type.
    pub fn mknod(
        &mut self,
        parent: u64,
        name: impl AsRef<[u8]>,
        mode: u32,
        rdev: u32,
    ) -> Result<EntryOut> {
        let arguments = MknodIn {
            mode,
            rdev,
            umask: self.umask,
            padding: 0,
        };
        self.make(opcode::MKNOD, parent, &[&arguments.encode(), &c_name(name)])
    }

    /// MKDIR.
    pub fn mkdir(&mut self, parent: u64, name: impl AsRef<[u8]>, mode: u32) -> Result<EntryOut> {
        let arguments = MkdirIn {
            mode,
            umask: self.umask,
        };
        self.make(opcode::MKDIR, parent, &[&arguments.encode(), &c_name(name)])
    }

    /// SYMLINK called `name` that points to `target`.
    pub fn symlink(
        &mut self,
        parent: u64,
        name: impl AsRef<[u8]>,
        target: impl AsRef<[u8]>,
    ) -> Result<EntryOut> {
        self.make(opcode::SYMLINK, parent, &[&c_name(name), &c_name(target)])
    }

    /// LINK: another name for `node`.
    pub fn link(&mut self, node: u64, parent: u64, name: impl AsRef<[u8]>) -> Result<EntryOut> {
        let arguments = LinkIn { oldnodeid: node };
        self.ask(Request::new(
            opcode::LINK,
            parent,
            &[&arguments.encode(), &c_name(name)],
        ))
    }

    /// CREATE: makes the file and opens it.
    pub fn create(
        &mut self,
        parent: u64,
        name: impl AsRef<[u8]>,
        flags: i32,
        mode: u32,
    ) -> Result<(EntryOut, OpenOut)> {
        self.make_open(opcode::CREATE, parent, &c_name(name), flags, mode)
    }

    /// TMPFILE: makes a file without a name and opens it.
    pub fn tmpfile(&mut self, parent: u64, flags: i32, mode: u32) -> Result<(EntryOut, OpenOut)> {
        // The kernel's nameless dentry is called "/".
        self.make_open(
            opcode::TMPFILE,
            parent,
            b"/\0",
            flags | libc::O_TMPFILE,
            mode,
        )
    }

    fn make_open(
        &mut self,
        opcode: u32,
        parent: u64,
        name: &[u8],
        flags: i32,
        mode: u32,
    ) -> Result<(EntryOut, OpenOut)> {
        let mode = mode | libc::S_IFREG;
        let arguments = CreateIn {
            flags: flags as u32,
            mode,
            umask: self.umask,
            open_flags: 0,
        };
        let made: CreateOut = self.make(opcode, parent, &[&arguments.encode(), name])?;
        Ok((made.entry, made.open))
    }

    /// A request that makes a file: it carries the client's extensions.
    fn make<T: crate::wire::Wire>(
        &mut self,
        opcode: u32,
        parent: u64,
        args: &[&[u8]],
    ) -> Result<T> {
        let extensions = std::mem::take(&mut self.extensions);
        let request = Request {
            extensions: &extensions,
            ..Request::new(opcode, parent, args)
        };
        let outcome = self.ask(request);
        self.extensions = extensions;
        outcome
    }

    /// UNLINK.
    pub fn unlink(&mut self, parent: u64, name: impl AsRef<[u8]>) -> Result<()> {
        self.tell(Request::new(
            opcode::UNLINK,
            parent,
            &[name.as_ref(), b"\0"],
        ))
    }

    /// RMDIR.
    pub fn rmdir(&mut self, parent: u64, name: impl AsRef<[u8]>) -> Result<()> {
        self.tell(Request::new(opcode::RMDIR, parent, &[name.as_ref(), b"\0"]))
    }

    /// RENAME of `name` in `parent` to `new_name` in `new_parent`.
    pub fn rename(
        &mut self,
        parent: u64,
        name: impl AsRef<[u8]>,
        new_parent: u64,
        new_name: impl AsRef<[u8]>,
    ) -> Result<()> {
        let arguments = RenameIn { newdir: new_parent };
        let args = [&arguments.encode()[..], &c_name(name), &c_name(new_name)];
        self.tell(Request::new(opcode::RENAME, parent, &args))
    }

    /// RENAME2: as RENAME, with flags of renameat2(2).
    pub fn rename2(
        &mut self,
        parent: u64,
        name: impl AsRef<[u8]>,
        new_parent: u64,
        new_name: impl AsRef<[u8]>,
        flags: u32,
    ) -> Result<()> {
        let arguments = Rename2In {
            newdir: new_parent,
            flags,
            padding: 0,
        };
        let args = [&arguments.encode()[..], &c_name(name), &c_name(new_name)];
        self.tell(Request::new(opcode::RENAME2, parent, &args))
    }
}
