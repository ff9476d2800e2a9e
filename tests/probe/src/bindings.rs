//! What the host offers beside WASI, generated from `wit/`.

wit_bindgen::generate!({
    inline: "
        package witter:probe@0.1.0;

        world probe {
            import wasi:keyvalue/store@0.2.0-draft2;
            import wasi:keyvalue/atomics@0.2.0-draft2;
            import wasi:keyvalue/batch@0.2.0-draft2;
            import spin:key-value/key-value@3.0.0;
            import spin:variables/variables@3.0.0;
            import wasi:config/store@0.2.0-draft-2024-09-27;
            import witter:messaging/wakeup@0.1.0;
        }
    ",
    path: "../../wit",
    world: "witter:probe/probe",
    generate_all,
});
