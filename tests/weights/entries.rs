//! Which of a file's dictionaries holds a network, of many; and names that read alike.

use super::archive::{dictionary, saved, saved_legacy, tensor};
use super::fitting::{WHOLE, tiny};
use super::turn;
use axenic::train::WeightFile;
use axenic::train::fit::{self, Request, Target};

/// A dictionary as the value of another.
fn inner(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let whole = dictionary(pairs);
    whole[2..whole.len() - 1].to_vec()
}

fn small(length: i64) -> Vec<u8> {
    tensor("FloatStorage", "0", 64, 0, &[length], &[1])
}

/// The tensors of [`Tiny`](super::fitting::Tiny), all in one storage, with something before their names.
fn network(prefix: &str) -> Vec<(String, Vec<u8>)> {
    let one = |(name, shape): &(&str, &[usize])| {
        let lengths: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        let strides = (0..lengths.len()).map(|axis| lengths[axis + 1..].iter().product());
        let strides: Vec<i64> = strides.collect();
        let value = tensor("FloatStorage", "0", 64, 0, &lengths, &strides);
        (format!("{prefix}{name}"), value)
    };
    WHOLE.iter().map(one).collect()
}

fn borrowed(pairs: &[(String, Vec<u8>)]) -> Vec<(&str, Vec<u8>)> {
    let each = pairs.iter();
    each.map(|(name, value)| (name.as_str(), value.clone()))
        .collect()
}

fn parsed(pairs: &[(&str, Vec<u8>)]) -> axenic::Result<WeightFile> {
    // As much data as honest files have, beside what they describe.
    WeightFile::parse(&saved(&dictionary(pairs), &[&[0; 256], &[0; 1 << 20]]))
}

/// An optimiser has a dictionary for every parameter; the network's is found behind hundreds of them.
#[test]
fn a_network_is_found_among_hundreds_of_dictionaries() {
    let _turn = turn();
    let moments: Vec<(String, Vec<u8>)> = (0..500)
        .map(|i| (i.to_string(), inner(&[("exp_avg", small(2))])))
        .collect();
    let state = inner(&[("state", inner(&borrowed(&moments)))]);
    for name in ["zoo", "swa_model"] {
        let own = inner(&borrowed(&network("my.own.")));
        let file = parsed(&[("opt", state.clone()), (name, own)]).expect("a file");
        let fitted = fit::fit(&file, &mut tiny(), &Request::default()).expect("it fits");
        let source = fitted.account.source;
        assert_eq!(
            (source.entry.as_str(), source.prefix.as_str()),
            (name, "my.own.")
        );
        let refused = fit::as_they_are(&file, None)
            .expect_err("which?")
            .to_string();
        let advice = refused.contains(&format!("`{name}`")) && refused.contains("--entry");
        assert!(advice && refused.len() < 400, "{refused}");
    }
}

/// Of two places that serve equally the averaged one is taken, and the other is said.
#[test]
fn what_serves_equally_is_said() {
    let _turn = turn();
    let both = [network("student."), network("teacher.")].concat();
    let file = parsed(&borrowed(&both)).expect("a file");
    let fitted = fit::fit(&file, &mut tiny(), &Request::default()).expect("it fits");
    let source = fitted.account.source;
    assert_eq!(source.prefix, "teacher.");
    assert!(source.reason.contains("`student.`"), "{}", source.reason);
}

/// How often a network is asked for its graph does not grow with the file.
#[test]
fn many_places_cost_no_more_graphs() {
    struct Counted(super::fitting::Tiny, std::cell::Cell<usize>);
    impl Target for Counted {
        fn name(&self) -> &str {
            self.0.name()
        }
        fn profile(&self) -> Option<axenic::models::Profile> {
            self.0.profile()
        }
        fn fit_to(&mut self, shape_of: &dyn Fn(&str) -> Option<axenic::shape::Shape>) {
            self.0.fit_to(shape_of);
        }
        fn num_classes(&self) -> Option<usize> {
            Target::num_classes(&self.0)
        }
        fn set_num_classes(&mut self, num_classes: Option<usize>) {
            Target::set_num_classes(&mut self.0, num_classes);
        }
        fn preprocessing(&self) -> axenic::models::Preprocessing {
            self.0.preprocessing()
        }
        fn record(&self, image: [usize; 3]) -> axenic::Result<axenic::graph::Graph> {
            self.1.set(self.1.get() + 1);
            self.0.record(image)
        }
    }
    let _turn = turn();
    let entries: Vec<(String, Vec<u8>)> = (0..40)
        .map(|entry| {
            let places = (0..40).map(|place| (format!("p{place}.patches.weight"), small(1)));
            (
                format!("e{entry}"),
                inner(&borrowed(&places.collect::<Vec<_>>())),
            )
        })
        .collect();
    let file = parsed(&borrowed(&entries)).expect("a file");
    let mut target = Counted(tiny(), std::cell::Cell::new(0));
    let _ = fit::fit(&file, &mut target, &Request::default());
    assert!(target.1.get() <= 3, "{} graphs", target.1.get());
}

/// Two names that read alike would be one tensor here, and the other would be gone.
#[test]
fn paths_that_read_alike_are_refused() {
    let _turn = turn();
    let one = |name: &str, length| inner(&[(name, small(length))]);
    let number = |pairs: &[(&str, Vec<u8>)]| {
        // The first name as a number.
        let code = dictionary(pairs);
        let at = code.iter().position(|&byte| byte == b'X').expect("a name");
        [&code[..at], b"K\x01", &code[at + 6..]].concat()
    };
    let cases = [
        (
            dictionary(&[("a.b", one("w", 3)), ("a", inner(&[("b", one("w", 2))]))]),
            "\"a.b\"",
        ),
        (
            dictionary(&[("a.b", one("v", 3)), ("a", inner(&[("b", one("w", 2))]))]),
            "\"a.b\"",
        ),
        (
            dictionary(&[("a.b", small(3)), ("a", one("b", 2))]),
            "\"a.b\"",
        ),
        (number(&[("1", small(3)), ("1", small(2))]), "read alike"),
        (dictionary(&[("", one("w", 3)), ("w", small(2))]), "path"),
    ];
    for (pickle, word) in cases {
        let (zip, old) = (
            saved(&pickle, &[&[0; 256]]),
            saved_legacy(&pickle, &[("0", 64, &[0; 256])]),
        );
        for bytes in [zip, old] {
            let text = WeightFile::parse(&bytes).expect_err(word).to_string();
            assert!(text.contains(word) && !text.contains('\n'), "{text}");
        }
    }
    let apart = [("a.b", one("w", 3)), ("a", inner(&[("c", one("w", 2))]))];
    assert_eq!(parsed(&apart).expect("two paths").tensors.len(), 2);
}
