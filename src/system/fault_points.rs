//! Fault points: places where a test makes the process panic. They do nothing without the feature
//! `fault-points`, which is off by default and on in `tests/fault_points`.
//!
//! A fault point panics once for each file of its name in the directory `APIGW_INVOKER_FAULT_POINTS`.

/// Panics if a test has made the file of this place.
#[cfg(feature = "fault-points")]
pub(crate) fn pass(place: &str) {
    let Some(directory) = std::env::var_os("APIGW_INVOKER_FAULT_POINTS") else { return };
    let is_requested = std::fs::remove_file(std::path::Path::new(&directory).join(place)).is_ok();
    assert!(!is_requested, "hush: the fault of {place}");
}

#[cfg(not(feature = "fault-points"))]
#[inline]
pub(crate) const fn pass(_place: &str) {}

/// Panics as soon as a test makes the file of this place, else never resolves.
pub(crate) async fn wait(place: &str) {
    while cfg!(feature = "fault-points") {
        pass(place);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    std::future::pending::<()>().await;
}
