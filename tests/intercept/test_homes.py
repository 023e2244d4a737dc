import json

from agentsched.intercept.homes import ResponseHomes, homes_of


def test_ids_are_found_in_whole_answers_and_in_streams():
    homes = ResponseHomes()
    homes.reader("whole")(json.dumps({"id": "resp_1", "output": [{"id": "msg_1"}]}).encode())
    read = homes.reader("stream")
    for byte in b'event: response.created\ndata: {"response": {"id" : "resp_2", "object": "response"}}\n\n':
        read(bytes([byte]))
    read(b'"id": "resp_3"')
    assert (homes.find("resp_1"), homes.find("resp_2"), homes.find("resp_3")) == ("whole", "stream", None)


def test_no_id_near_the_start_is_no_id():
    homes = ResponseHomes()
    read = homes.reader("e")
    read(b" " * 20_000)
    read(b'"id": "resp_late"')
    assert homes.find("resp_late") is None


def test_memory_is_bounded_and_keeps_what_is_used():
    homes = ResponseHomes()
    for number in range(4096):
        homes.remember(f"resp_{number}", "e")
    assert homes.find("resp_0") == "e"
    homes.remember("resp_new", "e")
    assert homes.find("resp_0") == "e"
    assert homes.find("resp_1") is None
    homes.remember("resp_0", "moved")
    assert homes.find("resp_0") == "moved"


def test_each_runtime_has_its_own(runtime):
    homes_of(runtime).remember("resp_1", "e")
    assert homes_of(runtime).find("resp_1") == "e"
    assert homes_of(type(runtime)("m")).find("resp_1") is None
