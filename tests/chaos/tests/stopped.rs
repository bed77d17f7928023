//! An instance that was stopped and taken over is fenced when it wakes, in every sink.

use weir_chaos::seed;
use weir_chaos::services::Services;
use weir_chaos::stopped::{Target, beside_another};

#[test]
fn an_instance_that_was_stopped_and_taken_over_is_fenced_when_it_wakes_in_every_sink() {
    let (services, seed) = (Services::shared(), seed::printed());
    std::thread::scope(|scope| {
        // All at once: what takes time is that they are stopped.
        let one = |target| (target, scope.spawn(move || beside_another(services, target, seed)));
        for (target, thread) in Target::ALL.map(one) {
            let fenced = thread.join().unwrap();
            let fenced = fenced.unwrap_or_else(|error| panic!("{target:?}: {error:#}"));
            assert_eq!(fenced.code, Some(1), "{target:?}: {fenced:?}");
            let of_its_sink = fenced.error.contains("sink `once_kept`") && fenced.error.contains("another instance");
            assert!(of_its_sink, "{target:?}: {fenced:?}");
        }
    });
}
