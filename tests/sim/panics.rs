//! Panics of tasks, which would otherwise go unseen: tokio keeps them for who joins the task.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// From now on the first panic on each thread is kept.
pub fn watch() {
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANIC.with_borrow_mut(|kept| _ = kept.get_or_insert_with(|| info.to_string()));
            before(info);
        }));
    });
}

/// What panicked on this thread since it was asked last.
pub fn take() -> Option<String> {
    PANIC.take()
}
