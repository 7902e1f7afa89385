"""The chat template of the models that OwnLM trains: ChatML turns, tool calls as Qwen3 and Hermes write them.

The assistant's words, the end of the turn included, stand in a generation block, so that the loss mask is exact.
"""

from __future__ import annotations

CHATML = r"""{#- ChatML with tools; what the assistant says is a generation block. -#}
{%- macro turn(role, text) -%}
    {{- '<|im_start|>' + role + '\n' + text + '<|im_end|>\n' -}}
{%- endmacro -%}
{%- set system = namespace(text='', rest=messages) -%}
{%- if messages and messages[0].role == 'system' -%}
    {%- set system.text = messages[0].content or '' -%}
    {%- set system.rest = messages[1:] -%}
{%- endif -%}
{%- if tools -%}
    {{- '<|im_start|>system\n' -}}
    {%- if system.text -%}{{- system.text + '\n\n' -}}{%- endif -%}
    {{- 'You can call these functions:\n<tools>' -}}
    {%- for tool in tools -%}{{- '\n' + (tool | tojson) -}}{%- endfor -%}
    {{- '\n</tools>\nWrite each call as\n<tool_call>\n{"name": NAME, "arguments": OBJECT}\n</tool_call><|im_end|>\n' -}}
{%- elif system.rest | length < messages | length -%}
    {{- turn('system', system.text) -}}
{%- endif -%}
{%- for message in system.rest -%}
    {%- if message.role == 'user' or message.role == 'system' -%}
        {{- turn(message.role, message.content or '') -}}
    {%- elif message.role == 'assistant' -%}
        {{- '<|im_start|>assistant\n' -}}
        {%- generation -%}
        {{- message.content or '' -}}
        {%- for call in message.tool_calls or [] -%}
            {%- set function = call.function or call -%}
            {%- if message.content or not loop.first -%}{{- '\n' -}}{%- endif -%}
            {{- '<tool_call>\n{"name": "' + function.name + '", "arguments": ' -}}
            {%- if function.arguments is string -%}{{- function.arguments -}}
            {%- else -%}{{- function.arguments | tojson -}}{%- endif -%}
            {{- '}\n</tool_call>' -}}
        {%- endfor -%}
        {{- '<|im_end|>' -}}
        {%- endgeneration -%}
        {{- '\n' -}}
    {%- elif message.role == 'tool' -%}
        {%- if loop.first or loop.previtem.role != 'tool' -%}{{- '<|im_start|>user' -}}{%- endif -%}
        {{- '\n<tool_response>\n' + (message.content or '') + '\n</tool_response>' -}}
        {%- if loop.last or loop.nextitem.role != 'tool' -%}{{- '<|im_end|>\n' -}}{%- endif -%}
    {%- else -%}
        {{- raise_exception('a message is from system, user, assistant or tool, not from ' + message.role) -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""
