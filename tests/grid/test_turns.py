import threading

from mmsoc_ray.grid.turns import Pending


def test_who_waits_goes_on_when_nothing_is_under_way():
    pending, order = Pending(), []
    pending.wait()
    pending.begin()
    pending.begin()

    def wait():
        pending.wait()
        order.append("waited")

    thread = threading.Thread(target=wait)
    thread.start()
    pending.end()
    order.append("one left")
    pending.end()
    thread.join(10)
    assert order == ["one left", "waited"]
