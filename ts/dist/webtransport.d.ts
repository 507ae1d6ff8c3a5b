/** What of a WebSocket the client uses, over a session: the lines of its stream are the messages. */
export declare class Session {
    #private;
    readyState: WebSocket["readyState"];
    readonly protocol: string;
    onopen: ((event: any) => void) | null;
    onmessage: ((event: any) => void) | null;
    onerror: ((event: any) => void) | null;
    onclose: ((event: any) => void) | null;
    constructor(url: string, protocols: readonly string[]);
    send(text: string): void;
    close(): void;
}
