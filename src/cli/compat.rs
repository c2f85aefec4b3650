//! The `-o` dialect: words separated by commas, `word` or `word=value`.
//!
//! A comma within a value is written `,,` (as libvirt does) or `\,` (as the
//! older daemon wants it). Every other backslash stands for itself.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::error::{SEE_HELP, UsageError};
use super::option::Opt;
use super::setting::Setting;
use super::table;

/// Takes one value of `-o` apart.
pub(super) fn parse(list: &OsStr) -> Result<Vec<Setting>, UsageError> {
    split(list)
        .iter()
        .filter(|word| !word.is_empty())
        .map(|word| setting(word))
        .collect()
}

/// Splits at commas and takes the escapes away.
fn split(list: &OsStr) -> Vec<OsString> {
    let mut words = vec![Vec::new()];
    let mut rest = list.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let last = words.last_mut().expect("never empty");
        rest = match rest {
            [b',' | b'\\', b',', after @ ..] => {
                last.push(b',');
                after
            }
            [b',', ..] => {
                words.push(Vec::new());
                tail
            }
            _ => {
                last.push(first);
                tail
            }
        };
    }
    words.into_iter().map(OsString::from_vec).collect()
}

fn setting(word: &OsStr) -> Result<Setting, UsageError> {
    let (name, value) = match word.as_bytes().iter().position(|&byte| byte == b'=') {
        Some(at) => {
            let (name, value) = word.as_bytes().split_at(at);
            (name, Some(OsStr::from_bytes(&value[1..])))
        }
        None => (word.as_bytes(), None),
    };
    let name = String::from_utf8_lossy(name);
    let (option, on) = find(&name).ok_or_else(|| unknown(&name))?;
    Setting::new(option, format!("-o {name}"), on, value)
}

/// The option that `word` stands for, and whether it turns it on.
fn find(word: &str) -> Option<(&'static Opt, bool)> {
    spellings().find_map(|(known, option, on)| (known == word).then_some((option, on)))
}

/// Every word of the dialect, with what it stands for.
pub(super) fn spellings() -> impl Iterator<Item = (String, &'static Opt, bool)> {
    table::options().flat_map(|option| {
        let positive = option.words.iter().map(|word| (*word).to_owned());
        let positive = std::iter::once(option.word()).chain(positive);
        let negative = option.negative().map(|name| name.replace('-', "_"));
        positive
            .map(move |word| (word, option, true))
            .chain(negative.map(move |word| (word, option, false)))
    })
}

fn unknown(word: &str) -> UsageError {
    let words = spellings().map(|(known, _, _)| known);
    let hint = match nearest(word, words) {
        Some(known) => format!("did you mean `-o {known}`? {SEE_HELP}"),
        None => SEE_HELP.to_owned(),
    };
    UsageError::new(format!("-o {word}"), "unknown option", hint)
}

/// The word among `words` that looks most like `word`, if one is like enough.
pub(super) fn nearest(word: &str, words: impl Iterator<Item = String>) -> Option<String> {
    /// Below this similarity, a suggestion would rather confuse.
    const ALIKE: f64 = 0.75;
    words
        .map(|known| (strsim::jaro_winkler(word, &known), known))
        .filter(|(similarity, _)| *similarity >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::super::setting::Value;
    use super::*;

    fn words(list: &str) -> Vec<String> {
        let words = split(OsStr::new(list));
        words
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect()
    }

    #[test]
    fn splits_at_commas_and_unescapes_them() {
        let table: &[(&str, &[&str])] = &[
            ("", &[""]),
            ("xattr", &["xattr"]),
            ("xattr,flock", &["xattr", "flock"]),
            ("source=/a,,b", &["source=/a,b"]),
            (r"source=/a\,b", &["source=/a,b"]),
            ("source=/a,,,xattr", &["source=/a,", "xattr"]),
            ("source=/a,,,,b", &["source=/a,,b"]),
            (r"source=/a\b,xattr", &[r"source=/a\b", "xattr"]),
            (r"source=/a\\b", &[r"source=/a\\b"]),
            ("xattr,", &["xattr", ""]),
            (",xattr", &["", "xattr"]),
            ("source=/a=b", &["source=/a=b"]),
        ];

        for (list, expected) in table {
            assert_eq!(words(list), *expected, "-o {list}");
        }
    }

    #[test]
    fn keeps_bytes_that_are_not_utf8() {
        let settings = parse(OsStr::from_bytes(b"source=/\xff,xattr")).unwrap();

        assert_eq!(
            settings[0].value,
            Value::Text(OsString::from_vec(b"/\xff".to_vec()))
        );
    }

    #[test]
    fn passes_over_empty_words() {
        let settings = parse(OsStr::new(",xattr")).unwrap();

        assert_eq!(settings.len(), 1);
    }

    #[test]
    fn an_unknown_word_is_named_with_its_nearest() {
        let error = parse(OsStr::new("xattr,no_xatr")).unwrap_err();

        assert_eq!(error.what, "-o no_xatr");
        assert_eq!(error.cause, "unknown option");
        assert!(error.hint.contains("did you mean `-o no_xattr`"), "{error}");
    }

    #[test]
    fn an_outlandish_word_gets_no_suggestion() {
        let error = parse(OsStr::new("zzzz")).unwrap_err();

        assert!(!error.hint.contains("did you mean"), "{error}");
    }

    #[test]
    fn no_two_options_share_a_word() {
        let words: Vec<_> = spellings().map(|(word, _, _)| word).collect();

        let mut unique = words.clone();
        unique.sort();
        unique.dedup();

        assert_eq!(unique.len(), words.len());
    }

    #[test]
    fn a_switch_takes_no_value_and_a_path_needs_one() {
        let value = parse(OsStr::new("xattr=yes")).unwrap_err();
        let none = parse(OsStr::new("source")).unwrap_err();
        let negated = parse(OsStr::new("no_posix_acl=auto")).unwrap_err();

        assert_eq!(value.cause, "takes no value");
        assert_eq!(none.cause, "needs a value");
        assert_eq!(negated.cause, "takes no value");
    }
}
