//! Pages and tables on a plausible run, and on what a run may hold at worst.

use super::samples::{evaluation, example, prediction, report};
use super::*;
use crate::systems::ife::result::Estimate;

/// Every image is inside the page, and nothing else is there that a browser would fetch or run.
fn assert_self_contained(page: &str) {
    let mut pieces = page.split("src=\"");
    let mut text = pieces.next().unwrap_or_default().to_string();
    for piece in pieces {
        let (source, rest) = piece.split_once('"').expect("a closed attribute");
        let coded = source
            .strip_prefix("data:image/png;base64,")
            .expect("a PNG");
        assert!(
            coded
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c))
        );
        text.push_str(rest);
    }
    for load in [
        "http:", "https:", "<script", "<link", "@import", "url(", "NaN", "inf,", "inf\"",
    ] {
        assert!(!text.contains(load), "the page contains {load}");
    }
}

#[test]
fn the_report_tells_everything() {
    let page = run_html(&report(12, &[3, 4])).expect("a page");
    assert_self_contained(&page);
    for part in [
        "On 306 test gels, the class was right for <b>97.4 %</b>.",
        "Of 86 monoclonal proteins, <b>3</b> were called Negative.",
        "<span class=\"nowrap\">95.3 – 98.9 %</span>",
        "Result, validation set",
        "epoch 9 kept",
        "Cross-entropy, epochs 1 to 12. training: ",
        "<b>218</b><small>99 %</small>",
        "<td class=\"num\">77.3 %</td>",
        "<h3>IgG-κ, 82.1 %</h3>",
        "✓ right",
        "truth not given",
        "stage 3, both tasks",
        "stage 4, light",
        "Attention of stage 4, heavy: strongest 36 % of the way down the gel",
        "9f86d081884c7d65",
        "lambda_inner = 0.3",
        "Not a medical device",
    ] {
        assert!(page.contains(part), "the page lacks {part}");
    }
    assert_eq!(page.matches("<img").count(), 2 * (1 + 3));
    // Three matrices for each of two evaluations.
    assert_eq!(page.matches("class=\"card matrix\"").count(), 6);
    assert!(!page.contains("Not a test result"));
}

#[test]
fn wrong_and_doubtful_predictions_are_marked() {
    let mut wrong = report(1, &[]);
    wrong.examples = vec![example(8, 3), example(5, 4)];
    let page = run_html(&wrong).expect("a page");
    assert!(page.contains("✗ wrong, in truth IgM-λ"));
    assert!(page.contains("<strong>Do not rely on this.</strong> The image does not look like"));
}

#[test]
fn without_a_test_set_the_report_warns() {
    let mut report = report(2, &[]);
    report.evaluations.truncate(1);
    let page = run_html(&report).expect("a page");
    assert!(page.contains("On 240 validation gels"));
    assert!(page.contains("Not a test result"));
}

#[test]
fn hostile_texts_are_escaped() {
    let attack = "\"><script>alert(1)</script>'.png";
    let mut report = report(1, &[3]);
    report.examples[0].prediction.image = attack.into();
    report.examples[0].prediction.name = attack.into();
    report.examples[0].prediction.warning = Some(attack.into());
    report.config = attack.into();
    report.data = attack.into();
    report.facts = vec![(attack.into(), attack.into())];
    report.evaluations[0].split = attack.into();
    report.evaluations[1].split = attack.into();
    for page in [run_html(&report), explain_html(&report.examples)] {
        let page = page.expect("a page");
        assert!(page.contains("&lt;script&gt;"));
        assert!(!page.contains("<script"));
        // Nothing of it ends an attribute early.
        assert!(!page.contains("\"><script") && !page.contains("Gel \">"));
    }
}

#[test]
fn an_empty_run_is_a_page_too() {
    let mut empty = report(0, &[]);
    empty.evaluations.clear();
    empty.facts.clear();
    empty.config.clear();
    let page = run_html(&empty).expect("a page");
    assert_self_contained(&page);
    assert!(page.contains("Nothing was evaluated") && page.contains("No epoch was trained"));
    assert!(
        explain_html(&[])
            .expect("a page")
            .contains("no image to explain")
    );
}

#[test]
fn undefined_numbers_leave_no_trace() {
    let nothing = Estimate {
        value: Some(f64::NAN),
        low: None,
        high: Some(f64::INFINITY),
    };
    let mut broken = report(3, &[0]);
    for row in &mut broken.history {
        row.loss_heavy = f64::NAN;
        row.gradient_norm = f64::INFINITY;
        row.learning_rate = f64::NEG_INFINITY;
        row.validation_fnr = None;
    }
    let test = &mut broken.evaluations[1];
    (test.accuracy, test.macro_f1, test.false_negative_rate) = (nothing, nothing, nothing);
    (test.auroc, test.calibration_error) = (None, Some(f64::NAN));
    test.operating_points[0].threshold = f64::INFINITY;
    test.confusion = vec![vec![0; 9]; 9];
    test.heavy_confusion = Vec::new();
    test.light_confusion = vec![vec![1], vec![]];
    let gel = &mut broken.examples[0];
    gel.prediction.confidence = f64::NAN;
    gel.prediction.probabilities = vec![f64::NAN; 9];
    gel.prediction.heavy = Vec::new();
    gel.truth = Some(77);
    gel.attention[3][0] = vec![f32::NAN; 7];
    let page = run_html(&broken).expect("a page");
    assert_self_contained(&page);
    assert!(page.contains("class was right for <b>–</b>"));
    assert!(page.contains("in truth class 77"));
    assert!(page.contains("no finite values"));
    let text = evaluation_text(&broken.evaluations[1]);
    assert!(!text.contains("NaN") && !text.contains("inf"));
}

#[test]
fn one_epoch_is_drawn_as_dots() {
    let page = run_html(&report(1, &[])).expect("a page");
    assert_self_contained(&page);
    assert!(!page.contains("<polyline") && page.contains("<circle"));
    assert!(page.contains("Of 1\n    epoch, the weights of epoch 1 were kept"));
}

#[test]
fn examples_that_do_not_fit_are_named() {
    let mut report = report(1, &[2]);
    report.examples[0].pixels.pop();
    let error = run_html(&report).expect_err("too few samples");
    assert!(
        error.to_string().starts_with("../data/100.jpg: "),
        "{error}"
    );
    report.examples[0].pixels.push(0);
    report.examples[0].attention[3][1].clear();
    assert!(explain_html(&report.examples).is_err());
}

#[test]
fn explanations_show_all_stages_and_tasks() {
    let page = explain_html(&[example(3, 0), example(0, 1)]).expect("a page");
    assert_self_contained(&page);
    assert_eq!(page.matches("<img").count(), 2 * (1 + 4 * 2));
    for stage in 1..=4 {
        for task in ["heavy", "light"] {
            assert!(page.contains(&format!("<b>stage {stage}, {task}</b>")));
        }
    }
}

#[test]
fn evaluations_read_in_a_terminal() {
    let text = evaluation_text(&evaluation("test", 306));
    let lines: Vec<&str> = text.lines().collect();
    for line in [
        "306 images, test",
        "  Accuracy            97.4 %  95.3 – 98.9 %",
        "  Three rarest found  76.1 %",
        "  3 of 86 monoclonal proteins called Negative.",
        "  IgG-κ            2  ·  ·     31      ·      ·      ·      ·      ·   93.9 %",
        "  none   218   1   1  99.1 %",
        "  99.0 %    0.00231      100.0 %       77.3 %",
    ] {
        assert!(lines.contains(&line), "no line {line:?} in\n{text}");
    }
    assert!(lines.iter().all(|line| line.trim_end() == *line));
}

#[test]
fn predictions_read_in_a_terminal() {
    let mut warned = prediction(1, "b\u{1b}[2J.png");
    warned.warning = Some("The model is unsure.".into());
    let text = predictions_text(&[prediction(3, "凝胶.png"), warned]);
    let expected = "\
image           class  confidence
凝胶.png        IgG-κ      82.1 %
b\\u{1b}[2J.png  κ          82.1 %  ! The model is unsure.
";
    assert_eq!(text, expected);
    assert_eq!(predictions_text(&[]), "");
}

#[test]
fn csv_and_json_come_back() {
    let mut first = prediction(3, "a \"quoted\", name.png");
    first.warning = Some("unsure".into());
    let predictions = [first, prediction(0, "b.png")];
    let text = predictions_csv(&predictions).expect("CSV");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headings = reader
        .headers()
        .expect("headings")
        .iter()
        .collect::<Vec<_>>()
        .join(",");
    assert_eq!(
        headings,
        "image,class,name,confidence,p0,p1,p2,p3,p4,p5,p6,p7,p8,warning"
    );
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    assert_eq!(&rows[0][0], "a \"quoted\", name.png");
    assert_eq!(
        (&rows[0][1], &rows[0][2], &rows[0][13]),
        ("3", "IgG-κ", "unsure")
    );
    assert_eq!((&rows[1][4], &rows[1][13]), ("0.8213", ""));
}

#[test]
fn csv_refuses_missing_probabilities() {
    let mut short = prediction(3, "a.png");
    short.probabilities.pop();
    let error = predictions_csv(&[short]).expect_err("eight probabilities");
    assert!(error.to_string().contains("a.png: 8 probabilities"));
}
