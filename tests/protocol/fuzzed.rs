//! The fuzzer's targets without a fuzzer: on what each begins with, on the corpus that fuzzing left,
//! and on changes of both.

use std::path::Path;

use crate::draw;

#[path = "../../fuzz/src/bodies/mod.rs"]
mod bodies;

/// Changed inputs of each target.
const CHANGES: u64 = 400;

fn inputs(target: &str) -> Vec<Vec<u8>> {
    let mut inputs = bodies::seeds(target);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", corpus.display());
    inputs.extend(files.iter().map(|file| std::fs::read(file).unwrap()));
    inputs
}

/// What the fuzzer begins with, for `scripts/fuzz.sh`.
#[test]
#[ignore = "writes files to the folder that SEEDS names"]
fn seeds_are_written() {
    let folder = std::path::PathBuf::from(std::env::var_os("SEEDS").expect("SEEDS"));
    for target in bodies::names() {
        std::fs::create_dir_all(folder.join(target)).unwrap();
        for (number, seed) in bodies::seeds(target).iter().enumerate() {
            std::fs::write(folder.join(target).join(format!("seed-{number:04}")), seed).unwrap();
        }
    }
}

#[test]
fn every_input_of_the_corpus_is_survived() {
    for target in bodies::names() {
        inputs(target).iter().for_each(|input| bodies::run(target, input));
    }
}

/// Bytes replaced, taken out, doubled, and brought over from another input.
#[test]
fn changes_of_the_corpus_are_survived() {
    for target in bodies::names() {
        let inputs = inputs(target);
        for seed in 0..CHANGES {
            let mut draw = draw(seed);
            let mut place = |length: usize| draw(u32::try_from(length).unwrap()) as usize;
            let mut input = inputs[place(inputs.len())].clone();
            for _ in 0..=place(4) {
                let (at, length) = (place(input.len() + 1), 1 + place(8));
                let end = (at + length).min(input.len());
                match place(5) {
                    0 => drop(input.drain(at..end)),
                    1 => input.extend_from_within(at..end),
                    2 => {
                        let other = &inputs[place(inputs.len())];
                        input.truncate(at);
                        input.extend_from_slice(&other[place(other.len() + 1)..]);
                    }
                    3 => input[at..end].fill([0, 0x7f, 0x80, 0xff][place(4)]),
                    _ => input[at..end].iter_mut().for_each(|byte| *byte = place(256) as u8),
                }
            }
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            let survived = std::panic::catch_unwind(|| bodies::run(target, &input));
            assert!(survived.is_ok(), "{target}, seed {seed}: {hex}");
        }
    }
}
