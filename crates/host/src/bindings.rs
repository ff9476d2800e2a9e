//! What the host offers to components beside WASI, generated from `wit/`.

wasmtime::component::bindgen!({
    inline: "
        package witter:host@0.1.0;

        world imports {
            import wasi:keyvalue/store@0.2.0-draft2;
            import wasi:keyvalue/atomics@0.2.0-draft2;
            import wasi:keyvalue/batch@0.2.0-draft2;
            import spin:key-value/key-value@3.0.0;
            import spin:redis/redis@3.0.0;
            import spin:variables/variables@3.0.0;
            import fermyon:spin/redis@2.0.0;
            import wasi:config/store@0.2.0-draft-2024-09-27;
            import witter:messaging/wakeup@0.1.0;
        }
    ",
    path: "../../wit",
    world: "witter:host/imports",
    imports: {
        // Nothing here waits.
        "wasi:config/store": trappable,
        "wasi:keyvalue/store.open": trappable,
        "wasi:keyvalue/store.[drop]bucket": trappable,
        "wasi:keyvalue/atomics.[drop]cas": trappable,
        "spin:key-value/key-value.[drop]store": trappable,
        "spin:redis/redis.[drop]connection": trappable,
        "fermyon:spin/redis.[drop]connection": trappable,
        "witter:messaging/wakeup.notify": trappable,
        "witter:messaging/wakeup.[constructor]watch": trappable,
        "witter:messaging/wakeup.[drop]watch": trappable,
        default: async | trappable,
    },
    with: {
        "wasi:keyvalue/store.bucket": crate::keyvalue::Bucket,
        "wasi:keyvalue/atomics.cas": crate::keyvalue::Cas,
        "spin:key-value/key-value.store": crate::keyvalue::Bucket,
        "spin:redis/redis.connection": crate::outbound_redis::Connection,
        "fermyon:spin/redis.connection": crate::outbound_redis::Connection,
        "witter:messaging/wakeup.watch": crate::wakeup::Watch,
    },
});
