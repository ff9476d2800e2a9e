"""Says on a WebSocket what `converse` in socket.js says, by the package websockets, and tells what it found."""

import asyncio
import json
import ssl
import sys
from urllib.parse import urlencode

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedOK
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory


class Client:
    def __init__(self, socket):
        self.socket = socket
        self.frames = []
        self.asked = 0

    async def next(self, fits):
        """The first frame that fits, of those that nobody was given."""
        at = 0
        while True:
            while at == len(self.frames):
                self.frames.append(json.loads(await self.socket.recv()))
            if fits(self.frames[at]):
                return self.frames.pop(at)
            at += 1

    async def envelopes(self, channel, count):
        fits = lambda frame: frame.get("envelope", {}).get("channel") == channel
        return [(await self.next(fits))["envelope"] for _ in range(count)]

    async def say(self, question):
        self.asked += 1
        await self.socket.send(f'{{"ref":{self.asked},{question}}}')
        return self.asked

    async def answer(self, ref):
        return await self.next(lambda frame: frame.get("ref") == ref)

    async def ask(self, question):
        return await self.answer(await self.say(question))


def publication(channel, id, body):
    return f'"publish":{{"channel":"{channel}","id":"{id}","body":{body}}}'


async def converse(what):
    channel, other, bodies = what["channel"], what["other"], what["bodies"]
    query = urlencode({"channel": channel, "token": what["token"]})
    offer = what["offer"]
    found = {}
    async with connect(
        f"{what['url']}/witter/websocket?{query}",
        subprotocols=["witter.v1"],
        compression=None,
        extensions=None if offer is None else [ClientPerMessageDeflateFactory(**offer)],
        ssl=ssl.create_default_context(cafile=what["trusted"]) if what["trusted"] else None,
        proxy=None,
    ) as socket:
        client = Client(socket)
        await client.next(lambda frame: frame.get("open"))
        found["protocol"] = socket.subprotocol
        found["extensions"] = socket.response.headers.get("Sec-WebSocket-Extensions", "")
        refs = [await client.say(publication(channel, at, body)) for at, body in enumerate(bodies)]
        found["published"] = [await client.answer(ref) for ref in refs]
        found["heard"] = await client.envelopes(channel, len(bodies))

        await client.ask(publication(other, "a", '"early"'))
        await client.ask(publication(other, "b", '"late"'))
        found["subscribed"] = await client.ask(f'"subscribe":{{"channel":"{other}","history":1}}')
        found["followed"] = await client.envelopes(other, 1)
        found["unsubscribed"] = await client.ask(f'"unsubscribe":{{"channel":"{other}"}}')
        await client.ask(publication(other, "c", '"unheard"'))
        found["again"] = await client.ask(publication(channel, 0, bodies[0]))
        found["refused"] = await client.ask(publication(channel, 0, '"another"'))
        await client.ask(publication(channel, "last", '"last"'))
        found["last"] = await client.envelopes(channel, 1)
        found["rest"] = client.frames
        await socket.close()
        try:
            await socket.recv()
        except ConnectionClosedOK as closed:
            found["closed"] = {"code": closed.rcvd.code, "reason": closed.rcvd.reason, "wasClean": True}
    print(json.dumps(found))


asyncio.run(converse(json.load(sys.stdin)))
