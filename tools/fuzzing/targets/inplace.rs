#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    gannet_recorder::inplace::fuzz(data);
    gannet_fuzzing::contents(data);
});
