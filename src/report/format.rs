//! Numbers as people read them. What is not defined reads as a dash, never as `NaN`.

use crate::systems::ife::result::{CLASS_NAMES, Estimate};

/// What stands for a number that is not defined.
pub(super) const DASH: &str = "–";

/// `value` if it is a number at all.
pub(super) fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

/// A share as a percentage with one decimal: `95.3 %`.
pub(super) fn percent(share: Option<f64>) -> String {
    finite(share).map_or(DASH.into(), |share| format!("{} %", tenths(share)))
}

/// The ends of an interval of shares: `92.4 – 97.3 %`; `None` unless both are known.
pub(super) fn percent_interval(estimate: Estimate) -> Option<String> {
    let (low, high) = finite(estimate.low).zip(finite(estimate.high))?;
    Some(format!("{} – {} %", tenths(low), tenths(high)))
}

/// A share in per cent with one decimal; a share below one is never rounded up to a flawless `100.0`.
fn tenths(share: f64) -> String {
    let percent = 100.0 * share;
    match (99.95..100.0).contains(&percent) {
        true => "99.9".into(),
        false => format!("{percent:.1}"),
    }
}

/// A share of one as a plain number with three decimals: `0.987`.
pub(super) fn decimal(value: Option<f64>) -> String {
    finite(value).map_or(DASH.into(), |value| format!("{value:.3}"))
}

/// Any number with four significant digits: `2.197`, `0.03`, `3.1e-7`.
pub(super) fn significant(value: f64) -> String {
    if !value.is_finite() {
        return DASH.into();
    }
    if value == 0.0 {
        return "0".into();
    }
    // The exponent after rounding, so that 9.99996 has as many digits as 10.
    let scientific = format!("{value:.3e}");
    let exponent = scientific
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse::<i32>().ok())
        .unwrap_or(0);
    match exponent {
        -3..=5 => trim(&format!("{value:.*}", (3 - exponent).max(0) as usize)),
        _ => {
            let (digits, _) = scientific.split_once('e').unwrap_or((&scientific, ""));
            format!("{}e{exponent}", trim(digits))
        }
    }
}

/// Without the zeros that end a decimal fraction.
fn trim(number: &str) -> String {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.').into(),
        false => number.into(),
    }
}

/// A count with a thin gap between thousands: `14 540`.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// The name of a class of the nine, or its number if there is no such class.
pub(super) fn class_name(class: usize) -> String {
    name_of(&CLASS_NAMES, class)
}

/// The name at `index`, or the index itself.
pub(super) fn name_of(names: &[&str], index: usize) -> String {
    names
        .get(index)
        .map_or_else(|| format!("class {index}"), |name| (*name).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(percent(Some(0.9534)), "95.3 %");
        assert_eq!(percent(Some(1.0)), "100.0 %");
        assert_eq!(percent(Some(0.99996)), "99.9 %");
        assert_eq!(percent(Some(0.0)), "0.0 %");
        assert_eq!(percent(Some(f64::NAN)), "–");
        assert_eq!(percent(None), "–");
        assert_eq!(decimal(Some(0.98765)), "0.988");
        assert_eq!(count(14540), "14\u{202f}540");
        assert_eq!(count(999), "999");
        for (value, text) in [
            (2.19722, "2.197"),
            (0.03, "0.03"),
            (0.0, "0"),
            (1.0, "1"),
            (123_456.0, "123456"),
            (9.99996, "10"),
            (3.14e-7, "3.14e-7"),
            (2.5e9, "2.5e9"),
            (-0.5, "-0.5"),
            (f64::INFINITY, "–"),
        ] {
            assert_eq!(significant(value), text);
        }
    }

    #[test]
    fn an_interval_needs_both_ends() {
        let mut estimate = Estimate {
            value: Some(0.95),
            low: Some(0.924),
            high: Some(0.973),
        };
        assert_eq!(percent_interval(estimate).as_deref(), Some("92.4 – 97.3 %"));
        estimate.high = Some(f64::NAN);
        assert_eq!(percent_interval(estimate), None);
    }

    #[test]
    fn unknown_classes_keep_their_number() {
        assert_eq!(class_name(3), "IgG-κ");
        assert_eq!(class_name(9), "class 9");
    }
}
