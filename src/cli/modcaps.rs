//! `--modcaps`: changes to the set of capabilities the daemon keeps.

use caps::Capability;

use super::compat::nearest;
use super::setting::BadValue;

/// One change, as in `+sys_admin` or `-mknod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapabilityChange {
    /// The capability.
    pub capability: Capability,
    /// Keep it (`+`) or drop it (`-`).
    pub keep: bool,
}

/// Reads a list such as `+sys_admin:-mknod`. `cap_` before a name and
/// upper case are accepted.
pub(super) fn parse(text: &str) -> Result<Vec<CapabilityChange>, BadValue> {
    text.split(':').map(change).collect()
}

fn change(text: &str) -> Result<CapabilityChange, BadValue> {
    let (keep, name) = match text.split_at_checked(1) {
        Some(("+", name)) => (true, name),
        Some(("-", name)) => (false, name),
        _ => {
            return Err(BadValue::new(
                format!("`{text}` does not start with + or -"),
                "write `+NAME` to keep a capability and `-NAME` to drop it, separated by colons",
            ));
        }
    };
    let capability = capability(name)?;
    Ok(CapabilityChange { capability, keep })
}

fn capability(name: &str) -> Result<Capability, BadValue> {
    let canonical = caps::to_canonical(name);
    canonical.parse().map_err(|_| {
        let known = caps::all().into_iter().map(short);
        let hint = match nearest(&name.to_lowercase(), known) {
            Some(known) => format!("did you mean `{known}`?"),
            None => "capabilities(7) lists the names, to be written without `CAP_`".to_owned(),
        };
        BadValue::new(format!("`{name}` is not a capability"), hint)
    })
}

fn short(capability: Capability) -> String {
    capability
        .to_string()
        .trim_start_matches("CAP_")
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_list_in_order() {
        let changes = parse("+sys_admin:-CAP_MKNOD:-setfcap").unwrap();

        let expected = [
            (true, Capability::CAP_SYS_ADMIN),
            (false, Capability::CAP_MKNOD),
            (false, Capability::CAP_SETFCAP),
        ]
        .map(|(keep, capability)| CapabilityChange { capability, keep });
        assert_eq!(changes, expected);
    }

    #[test]
    fn refuses_a_name_without_a_sign() {
        for text in ["mknod", "", "-mknod:", "é"] {
            let bad = parse(text).unwrap_err();

            assert!(
                bad.cause.contains("does not start with"),
                "{text}: {}",
                bad.cause
            );
        }
    }

    #[test]
    fn refuses_an_unknown_name_with_its_nearest() {
        let bad = parse("-mknode").unwrap_err();

        assert_eq!(bad.cause, "`mknode` is not a capability");
        assert_eq!(bad.hint, "did you mean `mknod`?");
    }
}
