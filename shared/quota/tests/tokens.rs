//! How far is the token estimator off? Measured against o200k on the corpus beside this crate; prints its table.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "the table is what it is run for, and it fails by panicking"
)]

use std::{fs, path::Path};

use tiktoken_rs::CoreBPE;

fn main() {
    let o200k = tiktoken_rs::o200k_base().unwrap();
    println!(
        "{:<12} {:>6} {:>9} {:>9} {:>9} {:>11} {:>8} {:>8}",
        "kind", "files", "bytes", "o200k", "estimate", "mean error", "worst", "bias"
    );
    let mut bounded = Vec::new();
    for kind in ["english", "code", "json"] {
        let errors = measure(&o200k, kind);
        assert!(errors.len() >= 5, "too few files of {kind} to mean anything");
        assert!(mean(&errors) <= ERROR_MAX, "{kind} is off by {:.1} % in the mean", 100.0 * mean(&errors));
        bounded.extend(errors);
    }
    println!(
        "{:<12} {:>6} {:>9} {:>9} {:>9} {:>10.1}%",
        "all three",
        bounded.len(),
        "",
        "",
        "",
        100.0 * mean(&bounded)
    );
    assert!(mean(&bounded) <= ERROR_MAX);
    let others = measure(&o200k, "languages");
    assert!(mean(&others) <= OTHERS_ERROR_MAX, "other languages are off by {:.1} %", 100.0 * mean(&others));
}

/// The relative error of each file of a kind.
fn measure(o200k: &CoreBPE, kind: &str) -> Vec<f64> {
    let (mut errors, mut bytes, mut truths, mut estimates) = (Vec::new(), 0, 0, 0);
    let mut files: Vec<_> =
        fs::read_dir(Path::new("corpus").join(kind)).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let (truth, estimate) = (o200k.encode_ordinary(&text).len() as u64, quota::tokens::tokens(&text));
        bytes += text.len();
        truths += truth;
        estimates += estimate;
        errors.push((estimate as f64 - truth as f64) / truth as f64);
    }
    let worst = errors.iter().copied().max_by(|one, other| one.abs().total_cmp(&other.abs())).unwrap();
    let bias = estimates as f64 / truths as f64 - 1.0;
    println!(
        "{kind:<12} {:>6} {bytes:>9} {truths:>9} {estimates:>9} {:>10.1}% {:>7.1}% {:>7.1}%",
        errors.len(),
        100.0 * mean(&errors),
        100.0 * worst,
        100.0 * bias
    );
    errors
}

fn mean(errors: &[f64]) -> f64 {
    errors.iter().map(|error| error.abs()).sum::<f64>() / errors.len() as f64
}

const ERROR_MAX: f64 = 0.10;
const OTHERS_ERROR_MAX: f64 = 0.25;
