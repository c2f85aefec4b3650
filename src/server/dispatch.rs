//! From an operation to the file system's method of the same name, and its value into the reply.

use crate::fs::{Entered, Entry};
use crate::fuse::abi::{IN_HEADER_LEN, LseekOut, OUT_HEADER_LEN, WRITE_IN_LEN, WriteOut};
use crate::fuse::operation::{Readdir, Write};
use crate::fuse::{Dirent, InitRequest, Negotiation, Operation, Reply, Request};
use crate::limited;
use crate::sys::{Errno, GuestBuffers, Span};

use super::{Server, Worker, encode};

/// Bytes of the longest link target (`PATH_MAX`).
const TARGET_LEN: usize = 4096;

impl Worker {
    /// Runs `request` and puts what it gives into the reply. Returns how many bytes are in guest
    /// memory already, behind the reply's header.
    pub(super) fn dispatch(
        &mut self,
        request: &Request<'_>,
        request_len: usize,
        data: &mut GuestBuffers<'_>,
        target: &mut GuestBuffers<'_>,
    ) -> Result<usize, Errno> {
        let Self {
            server,
            fs,
            reply,
            listing,
            ..
        } = self;
        let (fs, caller) = (fs.enter(), &request.caller);
        let cache = fs.cache();
        match &request.operation {
            Operation::Lookup(op) => server.put_entry(reply, fs.lookup(op)?),
            Operation::Mkdir(op) => server.put_entry(reply, fs.mkdir(caller, op)?),
            Operation::Mknod(op) => server.put_entry(reply, fs.mknod(caller, op)?),
            Operation::Symlink(op) => server.put_entry(reply, fs.symlink(caller, op)?),
            Operation::Link(op) => server.put_entry(reply, fs.link(op)?),
            Operation::Forget(op) => fs.forget(op),
            Operation::BatchForget(batch) => batch.iter().for_each(|op| fs.forget(&op)),

            Operation::Unlink(op) => fs.unlink(op)?,
            Operation::Rmdir(op) => fs.rmdir(op)?,
            Operation::Rename(op) => fs.rename(op)?,

            Operation::Create(op) => {
                let (entry, opened) = fs.create(caller, op)?;
                server.put_entry(reply, entry);
                reply.put(&encode::opened_file(opened, cache));
            }
            Operation::Tmpfile(op) => {
                let (entry, opened) = fs.tmpfile(caller, op)?;
                server.put_entry(reply, entry);
                reply.put(&encode::opened_file(opened, cache));
            }
            Operation::Open(op) => reply.put(&encode::opened_file(fs.open(op)?, cache)),
            Operation::Opendir(op) => reply.put(&encode::opened_directory(fs.opendir(op)?, cache)),
            Operation::Release(op) => fs.release(op)?,
            Operation::Releasedir(op) => fs.releasedir(op)?,

            Operation::Read(op) => {
                return fs.read(op, &mut target.span(OUT_HEADER_LEN, op.size as usize));
            }
            Operation::Write(op) => {
                let mut source = written_bytes(op, request_len, data)?;
                put_count(reply, fs.write(op, &mut source)?);
            }
            Operation::Flush(op) => fs.flush(op)?,
            Operation::Fsync(op) => fs.fsync(op)?,
            Operation::Fsyncdir(op) => fs.fsyncdir(op)?,
            Operation::Fallocate(op) => fs.fallocate(op)?,
            Operation::Lseek(op) => reply.put(&LseekOut {
                offset: fs.lseek(op)?,
            }),
            Operation::CopyFileRange(op) => {
                let copied = fs.copy_file_range(op)?;
                match op.wide {
                    true => reply.put_bytes(&(copied as u64).to_ne_bytes()),
                    false => put_count(reply, copied),
                }
            }

            Operation::Getattr(op) => reply.put(&encode::attr_out(&fs.getattr(op)?, cache)),
            Operation::Setattr(op) => reply.put(&encode::attr_out(&fs.setattr(op)?, cache)),
            Operation::Statx(op) => encode::put_statx(reply, &fs.statx(op)?, cache),
            Operation::Readlink(node) => {
                let mut buffer = [0; TARGET_LEN];
                let target = fs.readlink(*node, &mut buffer)?;
                if !reply.put_fitting(target) {
                    return Err(Errno::EIO);
                }
            }
            Operation::Access(op) => fs.access(caller, op)?,
            Operation::Statfs(node) => reply.put(&encode::statfs(&fs.statfs(*node)?)),
            Operation::Syncfs(node) => fs.syncfs(*node)?,

            Operation::Readdir(op) => server.readdir(&fs, op, listing, reply, false)?,
            Operation::Readdirplus(op) => server.readdir(&fs, op, listing, reply, true)?,

            Operation::Init(op) => server.init(&fs, op, reply)?,
            Operation::Destroy => {
                server.session.close();
                fs.reset();
            }
            Operation::Interrupt => {}
            Operation::Unsupported(_) => return Err(Errno::ENOSYS),
        }
        Ok(0)
    }
}

impl Server {
    fn put_entry(&self, reply: &mut Reply, entry: Entry) {
        reply.put(&encode::entry(
            &entry,
            self.fs.cache(),
            self.session.features(),
        ));
    }

    /// Starts a session; whatever an earlier one knew is forgotten.
    fn init(&self, fs: &Entered<'_>, op: &InitRequest, reply: &mut Reply) -> Result<(), Errno> {
        match crate::fuse::negotiate(op, self.offer.features) {
            Negotiation::Agreed(session, out) => {
                fs.reset();
                self.session.open(&session);
                // A guest can do this as often as it likes.
                limited!(
                    Info,
                    "a guest's session starts: protocol 7.{}",
                    session.minor
                );
                log::debug!("negotiated features: {:#x}", session.features.0);
                reply.put(&out);
                Ok(())
            }
            Negotiation::AskAgain(out) => {
                reply.put(&out);
                Ok(())
            }
            Negotiation::TooOld => Err(Errno::EPROTO),
        }
    }

    /// Lists as many entries as fit, each with its attributes when `plus`.
    fn readdir(
        &self,
        fs: &Entered<'_>,
        op: &Readdir,
        buffer: &mut [u8],
        reply: &mut Reply,
        plus: bool,
    ) -> Result<(), Errno> {
        let limit = (op.size as usize).min(reply.payload_room());
        let buffer = &mut buffer[..host_listing_len(limit, plus)];
        fs.readdir(op, buffer, |listing, host| {
            let dirent = Dirent {
                ino: listing.ino(host),
                next_offset: host.next_offset as u64,
                kind: host.kind.into(),
                name: host.name.to_bytes(),
            };
            if !dirent.fits(reply, limit, plus) {
                return false;
            }
            if !plus {
                dirent.pack(reply);
                return true;
            }
            // An entry that was removed since it was listed stays in the list: without any the guest
            // would take a batch of such entries for the directory's end.
            let entry = listing.lookup(host.name).ok();
            let entry =
                entry.map(|entry| encode::entry(&entry, self.fs.cache(), self.session.features()));
            dirent.pack_plus(reply, entry.as_ref());
            true
        })
    }
}

/// How many bytes of the host's entries about fill `limit` bytes of ours: an entry takes eight
/// bytes less there, and with attributes about a quarter. Never less than one entry needs, lest the
/// host has none to give.
fn host_listing_len(limit: usize, plus: bool) -> usize {
    const LONGEST_ENTRY: usize = 280;
    let wanted = if plus { limit / 4 } else { limit / 4 * 3 };
    wanted.clamp(LONGEST_ENTRY, super::LISTING_LEN)
}

/// The data behind a write request.
fn written_bytes<'a>(
    op: &Write,
    request_len: usize,
    data: &'a mut GuestBuffers<'_>,
) -> Result<Span<'a>, Errno> {
    let start = IN_HEADER_LEN + WRITE_IN_LEN;
    let size = op.size as usize;
    if request_len - start < size {
        return Err(Errno::EINVAL);
    }
    Ok(data.span(start, size))
}

fn put_count(reply: &mut Reply, count: usize) {
    reply.put(&WriteOut {
        size: count as u32,
        padding: 0,
    });
}
