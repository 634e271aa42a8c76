//! Places where a test makes the process panic, to see what comes back. Without the feature `fault-points`, which is
//! off by default and on in `tests/fault_points` alone, a place is nothing.
//!
//! A place panics once for each file of its name in the directory `APIGW_INVOKER_FAULT_POINTS`.

/// Panics if a test asks for it.
#[cfg(feature = "fault-points")]
pub(crate) fn pass(place: &str) {
    let Some(directory) = std::env::var_os("APIGW_INVOKER_FAULT_POINTS") else { return };
    let is_asked = std::fs::remove_file(std::path::Path::new(&directory).join(place)).is_ok();
    assert!(!is_asked, "hush: the fault of {place}");
}

#[cfg(not(feature = "fault-points"))]
#[inline]
pub(crate) const fn pass(_place: &str) {}

/// Panics as soon as a test asks for it.
#[cfg(feature = "fault-points")]
pub(crate) async fn wait(place: &str) {
    loop {
        pass(place);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Waits for ever.
#[cfg(not(feature = "fault-points"))]
pub(crate) async fn wait(_place: &str) {
    std::future::pending::<()>().await;
}
