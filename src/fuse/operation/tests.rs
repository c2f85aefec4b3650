//! Bytes in, operations out.

use super::*;
use crate::fuse::abi::{SetattrIn, WriteIn};

fn decode(opcode: u32, body: &[u8]) -> Result<Operation<'_>, WireError> {
    Operation::decode(opcode, NodeId(7), Cursor::new(body))
}

/// Every opcode with a body of fixed length and names.
fn well_formed() -> Vec<(u32, Vec<u8>)> {
    let fixed = |len: usize| vec![0; len];
    let named = |len: usize, names: &[u8]| [fixed(len).as_slice(), names].concat();
    let mut lseek = fixed(24);
    lseek[16] = libc::SEEK_HOLE as u8;
    let mut init = fixed(16);
    init[0] = 7;
    vec![
        (opcode::LOOKUP, named(0, b"n\0")),
        (opcode::FORGET, fixed(8)),
        (opcode::GETATTR, fixed(16)),
        (opcode::SETATTR, fixed(88)),
        (opcode::SYMLINK, named(0, b"n\0t\0")),
        (opcode::MKNOD, named(16, b"n\0")),
        (opcode::MKDIR, named(8, b"n\0")),
        (opcode::UNLINK, named(0, b"n\0")),
        (opcode::RMDIR, named(0, b"n\0")),
        (opcode::RENAME, named(8, b"a\0b\0")),
        (opcode::RENAME2, named(16, b"a\0b\0")),
        (opcode::LINK, named(8, b"n\0")),
        (opcode::OPEN, fixed(8)),
        (opcode::READ, fixed(40)),
        (opcode::WRITE, fixed(40)),
        (opcode::RELEASE, fixed(24)),
        (opcode::FSYNC, fixed(16)),
        (opcode::FLUSH, fixed(24)),
        (opcode::INIT, init),
        (opcode::OPENDIR, fixed(8)),
        (opcode::READDIR, fixed(40)),
        (opcode::READDIRPLUS, fixed(40)),
        (opcode::RELEASEDIR, fixed(24)),
        (opcode::FSYNCDIR, fixed(16)),
        (opcode::ACCESS, fixed(8)),
        (opcode::CREATE, named(16, b"n\0")),
        (opcode::BATCH_FORGET, named(8, &[])),
        (opcode::FALLOCATE, fixed(32)),
        (opcode::LSEEK, lseek),
        (opcode::COPY_FILE_RANGE, fixed(56)),
        (opcode::COPY_FILE_RANGE_64, fixed(56)),
        (opcode::TMPFILE, named(16, b"/\0")),
        (opcode::STATX, fixed(24)),
    ]
}

#[test]
fn every_opcode_decodes_and_c6_no_cut_body_does() {
    for (opcode, body) in well_formed() {
        let name = opcode::name(opcode);
        assert!(decode(opcode, &body).is_ok(), "{name}");
        let needed = if opcode == opcode::TMPFILE {
            16
        } else {
            body.len()
        };
        for len in 0..needed {
            assert!(
                decode(opcode, &body[..len]).is_err(),
                "{name} of {len} bytes"
            );
        }
    }
}

#[test]
fn c7_an_unknown_opcode_is_unsupported() {
    for unknown in [0, 7, 19, 54, 4096, 1 << 31, u32::MAX] {
        assert!(matches!(decode(unknown, &[]), Ok(Operation::Unsupported(n)) if n == unknown));
    }
}

#[test]
fn c14_a_batch_forget_beyond_its_body_is_refused_whole() {
    let mut body = [0; 8 + 16];
    body[0] = 2;
    assert!(matches!(
        decode(opcode::BATCH_FORGET, &body),
        Err(WireError::Malformed)
    ));

    body[0] = 1;
    body[8] = 42;
    body[16] = 3;
    let Ok(Operation::BatchForget(batch)) = decode(opcode::BATCH_FORGET, &body) else {
        panic!("not a batch");
    };
    assert!(batch.iter().eq([Forget {
        node: NodeId(42),
        lookups: 3
    }]));
}

#[test]
fn c15_offsets_beyond_off_t_are_out_of_range() {
    for (offset, size) in [(1 << 63, 0), (u64::MAX, 0), (i64::MAX as u64, 1)] {
        let write = WriteIn {
            offset,
            size,
            ..Default::default()
        };
        let result = decode(opcode::WRITE, write.as_slice());
        assert!(
            matches!(result, Err(WireError::OutOfRange)),
            "{offset:#x} + {size}"
        );
    }
}

#[test]
fn c31_unknown_setattr_bits_are_ignored_and_the_type_masked() {
    let args = SetattrIn {
        valid: u32::MAX,
        mode: 0o170644,
        size: 5,
        ..Default::default()
    };

    let Ok(Operation::Setattr(op)) = decode(opcode::SETATTR, args.as_slice()) else {
        panic!("not a setattr");
    };

    assert_eq!(
        (op.mode, op.size, op.atime),
        (Some(0o644), Some(5), Some(SetTime::Now))
    );
}

#[test]
fn the_umask_counts_whether_the_guest_applied_it_or_not() {
    let mut body = vec![0; 8];
    body[..4].copy_from_slice(&0o777u32.to_ne_bytes());
    body[4..].copy_from_slice(&0o027u32.to_ne_bytes());
    body.extend(b"dir\0");

    let Ok(Operation::Mkdir(op)) = decode(opcode::MKDIR, &body) else {
        panic!("not a mkdir")
    };

    assert_eq!(op.mode, 0o750);
}

#[test]
fn c10_extensions_are_cut_off_and_must_fit() {
    let mut header = InHeader {
        opcode: opcode::MKDIR,
        padding: 1,
        ..Default::default()
    };
    let body = [&[0; 8][..], b"dir\0", &[0; 8]].concat();

    assert!(Request::decode(&header, &body).is_ok());

    header.padding = 100;
    assert!(matches!(
        Request::decode(&header, &body),
        Err(WireError::Malformed)
    ));
}

#[test]
fn e20_everything_that_writes_mutates() {
    let opens = |flags: i32| {
        let mut body = [0; 8];
        body[..4].copy_from_slice(&flags.to_ne_bytes());
        decode(opcode::OPEN, &body).unwrap().mutates()
    };
    assert!(!opens(libc::O_RDONLY));
    for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_ACCMODE, libc::O_TRUNC] {
        assert!(opens(flags), "{flags:#o}");
    }
}
