//! Ranges of user and group ids as written on the command line.

use super::setting::BadValue;

/// One line of a user-namespace map: `count` ids from `inside` on are the
/// host's ids from `outside` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMapping {
    /// First id inside the namespace.
    pub inside: u32,
    /// First id on the host.
    pub outside: u32,
    /// How many ids, at least 1.
    pub count: u32,
}

/// One rule of the in-daemon translation between guest and host ids. Ranges
/// are never empty and never go past the highest id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdTranslation {
    /// `guest`: `count` guest ids from `guest` on become host ids from `host` on.
    Guest {
        /// First guest id.
        guest: u32,
        /// First host id.
        host: u32,
        /// How many ids.
        count: u32,
    },
    /// `host`: `count` host ids from `host` on become guest ids from `guest` on.
    Host {
        /// First host id.
        host: u32,
        /// First guest id.
        guest: u32,
        /// How many ids.
        count: u32,
    },
    /// `squash-guest`: `count` guest ids from `guest` on all become host id `host`.
    SquashGuest {
        /// First guest id.
        guest: u32,
        /// The one host id.
        host: u32,
        /// How many guest ids.
        count: u32,
    },
    /// `squash-host`: `count` host ids from `host` on all become guest id `guest`.
    SquashHost {
        /// First host id.
        host: u32,
        /// The one guest id.
        guest: u32,
        /// How many host ids.
        count: u32,
    },
    /// `forbid-guest`: the guest may not use `count` ids from `guest` on.
    ForbidGuest {
        /// First guest id.
        guest: u32,
        /// How many guest ids.
        count: u32,
    },
    /// `map`: `count` guest ids from `guest` on are host ids from `host` on, both ways.
    Map {
        /// First guest id.
        guest: u32,
        /// First host id.
        host: u32,
        /// How many ids.
        count: u32,
    },
}

/// Reads `:inside:outside:count:`, where any other character that is not a
/// digit may take the place of the colon.
pub(super) fn parse_mapping(text: &str) -> Result<IdMapping, BadValue> {
    const FORM: &str = "write `:INSIDE:OUTSIDE:COUNT:`, such as `:0:100000:65536:`";
    let separator = text.chars().next().filter(|c| !c.is_ascii_digit());
    let separator = separator
        .ok_or_else(|| BadValue::new("does not start with a separator, such as `:`", FORM))?;
    let inner = &text[separator.len_utf8()..];
    let inner = inner
        .strip_suffix(separator)
        .ok_or_else(|| BadValue::new(format!("does not end with `{separator}` again"), FORM))?;
    let [inside, outside, count] = numbers(inner, separator, FORM)?;
    check_range(inside, count, FORM)?;
    check_range(outside, count, FORM)?;
    Ok(IdMapping {
        inside,
        outside,
        count,
    })
}

/// Reads `type:first:first:count`, as listed at [`IdTranslation`].
pub(super) fn parse_translation(text: &str) -> Result<IdTranslation, BadValue> {
    const FORM: &str = "write `TYPE:FROM:TO:COUNT` with guest, host, squash-guest, squash-host or \
                        map, or `forbid-guest:FROM:COUNT`";
    let (kind, ids) = text
        .split_once(':')
        .ok_or_else(|| BadValue::new("no colon after the type", FORM))?;
    if kind == "forbid-guest" {
        let [guest, count] = numbers(ids, ':', FORM)?;
        check_range(guest, count, FORM)?;
        return Ok(IdTranslation::ForbidGuest { guest, count });
    }
    let [from, to, count] = numbers(ids, ':', FORM)?;
    check_range(from, count, FORM)?;
    let squash = kind.starts_with("squash-");
    check_range(to, if squash { 1 } else { count }, FORM)?;
    translation(kind, from, to, count).ok_or_else(|| BadValue::new("unknown type", FORM))
}

fn translation(kind: &str, from: u32, to: u32, count: u32) -> Option<IdTranslation> {
    let (guest, host) = match kind {
        "host" | "squash-host" => (to, from),
        _ => (from, to),
    };
    Some(match kind {
        "guest" => IdTranslation::Guest { guest, host, count },
        "host" => IdTranslation::Host { host, guest, count },
        "squash-guest" => IdTranslation::SquashGuest { guest, host, count },
        "squash-host" => IdTranslation::SquashHost { host, guest, count },
        "map" => IdTranslation::Map { guest, host, count },
        _ => return None,
    })
}

fn numbers<const N: usize>(text: &str, separator: char, form: &str) -> Result<[u32; N], BadValue> {
    let numbers: Vec<u32> = text
        .split(separator)
        .map(|number| number.parse().map_err(|_| not_an_id(number, form)))
        .collect::<Result<_, _>>()?;
    let found = numbers.len();
    numbers
        .try_into()
        .map_err(|_| BadValue::new(format!("{found} numbers instead of {N}"), form))
}

fn not_an_id(text: &str, form: &str) -> BadValue {
    BadValue::new(
        format!("`{text}` is not a number from 0 to {}", u32::MAX),
        form,
    )
}

/// The highest number is no id: the kernel takes (uid_t)-1 to mean "no change" (setresuid(2)).
fn check_range(first: u32, count: u32, form: &str) -> Result<(), BadValue> {
    match first.checked_add(count) {
        _ if count == 0 => Err(BadValue::new("the range is empty", form)),
        Some(_) => Ok(()),
        None => Err(BadValue::new(
            format!("{count} ids from {first} on go past the highest id"),
            form,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(inside: u32, outside: u32, count: u32) -> IdMapping {
        IdMapping {
            inside,
            outside,
            count,
        }
    }

    #[test]
    fn a_mapping_takes_any_separator() {
        for text in [":0:100000:65536:", ";0;100000;65536;", "/0/100000/65536/"] {
            assert_eq!(
                parse_mapping(text),
                Ok(mapping(0, 100_000, 65_536)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_mapping_may_reach_the_highest_id() {
        assert_eq!(
            parse_mapping(":0:0:4294967295:"),
            Ok(mapping(0, 0, u32::MAX))
        );
    }

    #[test]
    fn a_wrong_mapping_says_why() {
        let table = [
            ("", "does not start with a separator"),
            ("0:1:2", "does not start with a separator"),
            (":0:1:2", "does not end with `:`"),
            (":", "does not end with `:`"),
            (":0:1:", "2 numbers instead of 3"),
            (":0:1:2:3:", "4 numbers instead of 3"),
            (":0:x:2:", "`x` is not a number"),
            (":0:-1:2:", "`-1` is not a number"),
            (":0:4294967296:2:", "`4294967296` is not a number"),
            (":0:1:0:", "the range is empty"),
            (":4294967295:0:1:", "go past the highest id"),
            (":0:4294967290:10:", "go past the highest id"),
        ];

        for (text, cause) in table {
            let bad = parse_mapping(text).unwrap_err();
            assert!(bad.cause.contains(cause), "{text}: {}", bad.cause);
        }
    }

    #[test]
    fn a_translation_knows_its_direction() {
        use IdTranslation::*;
        let (guest, host, count) = (1, 2, 3);
        let table = [
            ("guest:1:2:3", Guest { guest, host, count }),
            ("host:2:1:3", Host { host, guest, count }),
            ("squash-guest:1:2:3", SquashGuest { guest, host, count }),
            ("squash-host:2:1:3", SquashHost { host, guest, count }),
            ("forbid-guest:1:3", ForbidGuest { guest, count }),
            ("map:1:2:3", Map { guest, host, count }),
        ];

        for (text, expected) in table {
            assert_eq!(parse_translation(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn squashing_to_a_high_id_is_no_overflow() {
        assert!(parse_translation("squash-guest:0:65534:4294967295").is_ok());
    }

    #[test]
    fn a_wrong_translation_says_why() {
        let table = [
            ("", "no colon"),
            ("map", "no colon"),
            ("mop:1:2:3", "unknown type"),
            ("map:1:2", "2 numbers instead of 3"),
            ("forbid-guest:1:2:3", "3 numbers instead of 2"),
            ("guest:1:2:3:", "`` is not a number"),
            ("guest:1:2:0", "the range is empty"),
            ("guest:1:4294967295:5", "go past the highest id"),
        ];

        for (text, cause) in table {
            let bad = parse_translation(text).unwrap_err();
            assert!(bad.cause.contains(cause), "{text}: {}", bad.cause);
        }
    }
}
