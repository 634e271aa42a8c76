//! Time per step of a request: `cargo bench --bench hot`.

#![expect(clippy::expect_used, reason = "a benchmark that cannot begin has nothing to say")]

mod work;

use divan::Bencher;

fn main() {
    divan::main();
}

#[divan::bench(args = work::ALL.map(|(name, _)| name))]
fn step(bencher: Bencher, name: &str) {
    let found = work::ALL.iter().find(|(known, _)| *known == name);
    let work = found.map(|(_, prepare)| prepare()).expect("it is one of them");
    bencher.bench_local(work);
}
