//! Parts of a network by pattern.

use std::fmt;

/// A pattern of dotted names. It stands for the parts whose names it matches, and for everything below them: `layer4`
/// for `layer4.0.conv1.weight`, but not for `layer40`. In a segment, `*` stands for any characters; the segment `**`
/// stands for any number of segments: `layer*.0`, `**.bias`, and `*` for everything that has a name.
///
/// ```
/// use axenic::nn::Pattern;
/// assert!(Pattern::new("layer*.0").covers("layer4.0.conv1.weight"));
/// assert!(Pattern::new("**.bias").covers("fc.bias"));
/// assert!(!Pattern::new("layer4").covers("layer40.weight"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<String>,
}

/// Any number of segments.
const ANY: &str = "**";

impl Pattern {
    /// The pattern of this text. Every text is one; one with an empty segment covers nothing.
    pub fn new(text: &str) -> Self {
        let mut segments: Vec<String> = text.split('.').map(str::to_string).collect();
        segments.dedup_by(|a, b| a == ANY && b == ANY);
        Self { segments }
    }

    /// Whether a part of this name, or one that it lies in, matches.
    pub fn covers(&self, name: &str) -> bool {
        let name: Vec<&str> = name.split('.').collect();
        covers(&self.segments, &name)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segments.join("."))
    }
}

fn covers(pattern: &[String], name: &[&str]) -> bool {
    let Some((first, pattern)) = pattern.split_first() else {
        return true;
    };
    if first == ANY {
        return (0..=name.len()).any(|skipped| covers(pattern, &name[skipped..]));
    }
    name.split_first()
        .is_some_and(|(segment, name)| matches(first, segment) && covers(pattern, name))
}

/// Whether a segment is what the pattern's says, with `*` for any characters.
fn matches(pattern: &str, segment: &str) -> bool {
    let Some((start, pattern)) = pattern.split_once('*') else {
        return !segment.is_empty() && pattern == segment;
    };
    let (middle, end) = pattern.rsplit_once('*').unwrap_or(("", pattern));
    let inner = segment.strip_prefix(start);
    let Some(mut rest) = inner.and_then(|rest| rest.strip_suffix(end)) else {
        return false;
    };
    let found = middle.split('*').all(|part| {
        let behind = rest.find(part).map(|at| &rest[at + part.len()..]);
        behind.map(|behind| rest = behind).is_some()
    });
    found && !segment.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_parts_and_what_lies_below() {
        let name = "encoder.layers.encoder_layer_11.mlp.0.weight";
        for covering in [
            "*",
            "**",
            "encoder",
            "encoder.layers.encoder_layer_*",
            "encoder.layers.encoder_layer_1*",
            "*.*.*lay*_11",
            "**.mlp",
            "**.weight",
            "encoder.**.**.0.weight",
            "**.encoder.**",
            name,
        ] {
            assert!(Pattern::new(covering).covers(name), "{covering}");
        }
        for other in [
            "",
            "enc",
            "encoder.",
            "encoder..layers",
            "encoder.layers.encoder_layer_1",
            "mlp",
            "**.bias",
            "encoder.*.mlp",
            "encoder.layers.*_1*1*1",
            "encoder.layers.*rr*",
            "encoder.layers.encoder_layer_11.mlp.0.weight.more",
        ] {
            assert!(!Pattern::new(other).covers(name), "{other}");
        }
        assert!(!Pattern::new("*").covers(""), "the whole has no name");
        assert!(
            !Pattern::new("a*a").covers("a"),
            "no character counts twice"
        );
    }
}
