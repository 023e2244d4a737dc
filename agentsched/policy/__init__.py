"""What to do: pure rules that place a call and judge a running one."""
