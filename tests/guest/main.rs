//! The whole path with a real guest: a stock distribution kernel in QEMU mounts
//! what the built daemon shares, works in it, and the host looks at the result.
//!
//! `prepare` gets kernel and QEMU, `prepare-root` the programs for the guest; a
//! case that cannot be run is reported as ignored, after a line with the reason.
//!
//! - `VIRTIOFSD_BIN`: test this daemon instead of the one just built
//! - `GUEST_KERNEL=backports`: boot the newer kernel (see `prepare`)
//! - `--test-threads=N`: so many guests at a time (default 1)

mod boot;
mod lab;
mod tree;
mod work;

use lab::Lab;
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

/// What a case needs besides QEMU and a kernel.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Kernel,
    Programs,
}

struct Case {
    name: &'static str,
    needs: Needs,
    run: fn(&Lab),
}

macro_rules! cases {
    ($($module:ident :: $function:ident needs $needs:ident;)*) => {
        &[$(Case {
            name: concat!(stringify!($module), "::", stringify!($function)),
            needs: Needs::$needs,
            run: $module::$function,
        }),*]
    };
}

const CASES: &[Case] = cases! {
    boot::one_daemon_shares_a_directory needs Kernel;
    boot::guest_users_are_the_mapped_ids_on_the_host needs Kernel;
    boot::two_daemons_share_under_two_tags needs Kernel;
    boot::listening_socket_is_inherited needs Kernel;
    boot::four_request_queues_work_in_parallel needs Kernel;
    boot::root_file_system_is_on_the_tag needs Kernel;
    boot::rebooted_guest_mounts_again needs Kernel;
    work::c_program_is_built_and_run needs Programs;
    work::git_clones_and_fsck_is_clean needs Programs;
    work::sqlite_keeps_ten_thousand_transactions needs Programs;
};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    let wanted = |case: &&Case| {
        !arguments.list
            && arguments
                .filter
                .as_ref()
                .is_none_or(|part| case.name.contains(part))
    };
    let wanted: Vec<&Case> = CASES.iter().filter(wanted).collect();
    let lab: &'static Lab = Box::leak(Box::new(Lab::new(
        !wanted.is_empty(),
        wanted.iter().any(|case| case.needs == Needs::Programs),
    )));
    // The message is printed with the case's result; here only the place.
    std::panic::set_hook(Box::new(|panic| {
        if let Some(location) = panic.location() {
            eprintln!("failed at {location}");
        }
    }));
    let trials = CASES.iter().map(|case| trial(case, lab)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(case: &'static Case, lab: &'static Lab) -> Trial {
    let possible = match case.needs {
        Needs::Kernel => lab.kernel.is_some(),
        Needs::Programs => lab.kernel.is_some() && lab.programs.is_some(),
    };
    let run = move || {
        (case.run)(lab);
        Ok(())
    };
    Trial::test(case.name, run).with_ignored_flag(!possible)
}
