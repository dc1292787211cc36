//! `wf_runtime`: threads, plugin folders and messages, shared by runs. The only thing that starts threads.

use core::ffi::c_void;
use core::mem::offset_of;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use walkforge_plugin_abi::{wf_error, wf_host, wf_plugin_api, wf_string};

use super::guard::{Handle, HandleType, fail, guard, options, put, string, utf8, wanted};
use walkforge::device::Parallel;
use walkforge::error::Result;
use walkforge::job::Runtime;
use walkforge::plugin::{PluginSearch, level_code, register};

/// Threads, plugin folders and messages, shared by runs.
pub enum wf_runtime {}

/// Takes a message: `level` is one of `WF_LOG_*`, the text is valid during the call. Called from any thread, also from
/// several at once. It must let no exception through.
pub type wf_log_callback = Option<unsafe extern "C" fn(user_data: *mut c_void, level: i32, message: wf_string)>;

/// A task of ours, to be called once with each index.
pub type wf_task = Option<unsafe extern "C" fn(task_data: *mut c_void, index: usize)>;

/// The caller's own parallel loop: calls `task(task_data, index)` once for each index from 0 to `count` - 1, on as many
/// threads as it likes, and returns when all calls have returned. It must let no exception through.
pub type wf_parallel_for =
    Option<unsafe extern "C" fn(user_data: *mut c_void, count: usize, task: wf_task, task_data: *mut c_void)>;

/// How a runtime is made; zero for every field but the size gives the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_runtime_options {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Threads to compute with, at most 1024; 0 for one a core. With `parallel_for`: how many tasks it runs at once,
    /// at least 1.
    pub threads: usize,
    /// Folders in which plugins are sought, `:` between them. Empty: those of `WALKFORGE_PLUGIN_PATH`, then the folder
    /// of the executable and of the library, then `../lib/walkforge/plugins` from each.
    pub plugin_path: wf_string,
    /// Takes messages; may be null.
    pub log: wf_log_callback,
    /// Handed to `log`.
    pub log_data: *mut c_void,
    /// The caller's own parallel loop; null for a thread pool of the runtime.
    pub parallel_for: wf_parallel_for,
    /// Handed to `parallel_for`.
    pub parallel_data: *mut c_void,
    /// SHA-256 digests of the plugin files that may be loaded: 64 hexadecimal digits each, `,` between them. Empty: any.
    /// The file that was hashed is the one that is loaded. Plugins that are linked in are not asked for a digest.
    pub plugin_sha256: wf_string,
}

/// Size of the first version of `wf_runtime_options`, whose last field this was.
const FIRST: usize = offset_of!(wf_runtime_options, parallel_data) + size_of::<*mut c_void>();

/// A number that nobody has cores for is a mistake, and would cost the host all the threads it may have.
const MOST_THREADS: usize = 1024;

impl HandleType for Runtime {
    const NAME: &'static str = "wf_runtime";
    type Shared = ();
}

/// A pointer of the caller's that its functions may use on any thread, by the contract of the options.
#[derive(Clone, Copy)]
struct UserData(*mut c_void);

// SAFETY: the caller promises that the functions it gives may be called from any thread.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    fn pointer(self) -> *mut c_void {
        self.0
    }
}

/// The caller's own parallel loop.
struct Host {
    threads: usize,
    call: unsafe extern "C" fn(*mut c_void, usize, wf_task, *mut c_void),
    data: UserData,
}

/// What a task needs on the other side: the loop's body, and a place for a panic so that none crosses the boundary.
struct Work<'a> {
    task: &'a (dyn Fn(usize) + Sync),
    panic: Mutex<Option<Box<dyn core::any::Any + Send>>>,
}

unsafe extern "C" fn work(data: *mut c_void, index: usize) {
    // SAFETY: `data` is the `Work` that `for_each` lends until every task has ended.
    let work = unsafe { &*data.cast::<Work>() };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (work.task)(index)));
    if let Err(panic) = outcome {
        *work.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
    }
}

impl Parallel for Host {
    fn threads(&self) -> usize {
        self.threads
    }

    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        let shared = Work { task, panic: Mutex::new(None) };
        // SAFETY: the caller's function calls `work` with what it was given, and returns when all calls have.
        unsafe { (self.call)(self.data.pointer(), count, Some(work), (&raw const shared).cast_mut().cast()) };
        if let Some(panic) = shared.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Makes a runtime; `options` may be null for the defaults. Its threads start here. The caller owns it and frees it with
/// `wf_runtime_free`. `WF_E_IO` where threads cannot be started; `WF_E_INVALID_SETTING` where `plugin_sha256` is no list of
/// digests.
///
/// # Safety
/// `options` is null or as large as its size says, its functions may be called from any thread as long as the runtime
/// and its runs live; `runtime` and `error` are writable, `error` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_runtime_new(
    options: *const wf_runtime_options,
    runtime: *mut *mut wf_runtime,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        wanted("runtime", runtime)?;
        let default = wf_runtime_options {
            struct_size: size_of::<wf_runtime_options>(),
            threads: 0,
            plugin_path: string(""),
            log: None,
            log_data: core::ptr::null_mut(),
            parallel_for: None,
            parallel_data: core::ptr::null_mut(),
            plugin_sha256: string(""),
        };
        // SAFETY: as demanded of the caller.
        let (given, path, sha256) = unsafe {
            let given = self::options("options", options, FIRST, default)?;
            let sha256 = utf8("options.plugin_sha256", given.plugin_sha256)?;
            (given, utf8("options.plugin_path", given.plugin_path)?, sha256)
        };
        if given.threads > MOST_THREADS {
            fail!(InvalidArgument, "'options.threads' is {}; allowed is at most {MOST_THREADS}", given.threads);
        }
        let search = if path.is_empty() {
            PluginSearch::standard()
        } else {
            PluginSearch::folders(std::env::split_paths(path).collect::<Vec<PathBuf>>())
        };
        let search = if sha256.is_empty() { search } else { search.allow_only(sha256)? };
        let mut made = match given.parallel_for {
            None => Runtime::new(search, given.threads)?,
            Some(_) if given.threads == 0 => {
                fail!(InvalidArgument, "'options.threads' is 0; with parallel_for it must be at least 1")
            }
            Some(call) => {
                let host = Host { threads: given.threads, call, data: UserData(given.parallel_data) };
                Runtime { search, parallel: Arc::new(host), log: None }
            }
        };
        if let Some(log) = given.log {
            let data = UserData(given.log_data);
            made.log = Some(Arc::new(move |level, message: &str| {
                // SAFETY: the caller's function, with the pointer it asked for.
                unsafe { log(data.pointer(), level_code(level), string(message)) }
            }));
        }
        // SAFETY: as demanded of the caller.
        unsafe { put("runtime", runtime, Handle::give(made, ()).cast()) }
    })
}

/// Registers a plugin that is linked into the program, so that experiments of runs made from now on can name it. It comes
/// before any file of that name. `WF_E_INVALID_ARGUMENT` where the name is empty, looks like a path or is taken;
/// `WF_E_PLUGIN_ABI` where the plugin cannot be used.
///
/// # Safety
/// `runtime` is one of ours; `init` is the init function of a plugin and lives as long as the process; `name` is text;
/// `error` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_runtime_register(
    runtime: *mut wf_runtime,
    name: wf_string,
    init: Option<unsafe extern "C" fn(host: *const wf_host, out: *mut wf_plugin_api, error: *mut *mut wf_error) -> i32>,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        let Some(init) = init else { fail!(InvalidArgument, "'init' is null") };
        // SAFETY: as demanded of the caller.
        unsafe {
            let name = utf8("name", name)?;
            let plugin = register(init, name)?;
            Handle::change(runtime.cast::<Handle<Runtime>>(), |runtime| runtime.search.add(name, plugin))
        }
    })
}

/// Frees a runtime; null is accepted. Runs made from it keep what they need, its threads among that; the data of its
/// callbacks must live until the last of them is freed.
///
/// # Safety
/// `runtime` is null or one of ours, not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_runtime_free(runtime: *mut wf_runtime) {
    // SAFETY: as demanded of the caller.
    unsafe { Handle::free(runtime.cast::<Handle<Runtime>>()) };
}

/// Reads a runtime handle.
///
/// # Safety
/// `runtime` is null or one of ours that was not freed.
pub(super) unsafe fn runtime_of(runtime: *const wf_runtime) -> Result<Runtime> {
    // SAFETY: as demanded of the caller.
    unsafe { Handle::read(runtime.cast::<Handle<Runtime>>(), |runtime| Ok(runtime.clone())) }
}
