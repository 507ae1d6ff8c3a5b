import type { OutboxStore, Publication } from "./api.ts";

/**
 * Keeps publications in IndexedDB, so that they outlive the page: a reload, a crash, the browser's
 * end. Each client keeps its own; what one has left behind, the next that loads takes over, in the
 * order in which it was made. The name stands for a server and its user.
 */
export function indexedDBStore(name: string): OutboxStore {
  const owner = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const lock = (of: string): string => `duplex ${name} outbox ${of}`;
  const locks = globalThis.navigator?.locks;
  let database: Promise<IDBDatabase> | undefined;

  const open = (): Promise<IDBDatabase> =>
    (database ??= new Promise((done, fail) => {
      const request = indexedDB.open(`duplex ${name}`, 1);
      request.onupgradeneeded = () => request.result.createObjectStore("outbox", { autoIncrement: true }).createIndex("key", "key");
      request.onsuccess = () => {
        const db = request.result;
        // The user may delete the site's data, or another version of this may come.
        db.onclose = db.onversionchange = () => {
          database = undefined;
          db.close();
        };
        done(db);
      };
      request.onerror = () => {
        database = undefined;
        fail(request.error);
      };
    }));

  /** Does something with the table, and is done when it is stored. */
  const change = async <T>(work: (table: IDBObjectStore, result: (value: T) => void) => void): Promise<T> => {
    const db = await open();
    return new Promise((done, fail) => {
      const transaction = db.transaction("outbox", "readwrite");
      let result: T;
      transaction.oncomplete = () => done(result);
      transaction.onabort = () => fail(transaction.error);
      work(transaction.objectStore("outbox"), (value) => (result = value));
    });
  };

  // While this client lives, it holds a lock by which others know that its publications are its own.
  let held: Promise<void> | undefined;
  const hold = (): Promise<void> =>
    (held ??= new Promise((done) => {
      if (!locks) return done();
      locks.request(lock(owner), () => (done(), new Promise(() => {}))).catch(done);
    }));

  const takeOver = (held: LockInfo[]): Promise<Publication[]> => {
    const living = new Set(held.map((l) => l.name));
    return change((table, result) => {
      const found: Publication[] = [];
      result(found);
      table.openCursor().onsuccess = ({ target }) => {
        const cursor = (target as IDBRequest<IDBCursorWithValue | null>).result;
        if (!cursor) return;
        const { owner: of, ...publication } = cursor.value as Publication & { owner: string };
        if (of === owner || !living.has(lock(of))) {
          found.push(publication);
          cursor.update({ ...publication, owner });
        }
        cursor.continue();
      };
    });
  };

  return {
    async load() {
      await hold();
      // One after the other: two must not take over the same.
      return locks ? locks.request(lock("loading"), async () => takeOver((await locks.query()).held ?? [])) : takeOver([]);
    },

    async put(publication) {
      await hold();
      await change((table) => {
        table.index("key").getKey(publication.key).onsuccess = ({ target }) => {
          table.put({ ...publication, owner }, (target as IDBRequest<IDBValidKey | undefined>).result);
        };
      });
    },

    async remove(key) {
      await change((table) => {
        table.index("key").getKey(key).onsuccess = ({ target }) => {
          const at = (target as IDBRequest<IDBValidKey | undefined>).result;
          if (at !== undefined) table.delete(at);
        };
      });
    },
  };
}
